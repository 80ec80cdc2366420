"""load_examples: recordings with their texts from a table, a folder or the Hub, checked before training."""

from __future__ import annotations

from dataclasses import dataclass, field

import datasets

from ..messages import several
from .checked import AudioCheck, check_audio, report
from .columns import AUDIO, PROMPT, TEXT, find_column, required_column
from .inline import audio_table
from .joining import all_prompts, all_texts, joined
from .sources import Source

MIN_SECONDS = 0.08  # two audio tokens


@dataclass(frozen=True, eq=False)
class Examples:
    """The usable examples of a table, and the rows that were skipped.

    Args:
        dataset: has the columns ``audio`` (``{"bytes", "path"}``, undecoded, for `load_audio`), ``text`` and, if the
            table has one, ``prompt`` (None in rows without); and, if the recordings were decoded, ``length``, the
            number of samples at the model's rate, for ``train_sampling_strategy="group_by_length"``.
        rows: number of rows read.
        skipped: number and reason of each skipped row.
        unit: the unit of these numbers: "line" of the file, from 1; or "row", from 0.

    Example:
        >>> from hf_tokcomp.data import load_examples
        >>> examples = load_examples("my_recordings", split="train")
        >>> examples.rows, examples.skipped
        (3, [])
    """

    dataset: datasets.Dataset
    rows: int
    skipped: list[tuple[int, str]] = field(default_factory=list)
    unit: str = "row"


def load_examples(
    name: str,
    *,
    split: str | None = None,
    config_name: str | None = None,
    audio_column: str | None = None,
    text_column: str | None = None,
    prompt_column: str | None = None,
    prompt_required: bool = False,
    flatten_texts: bool = False,
    skip_bad: bool = False,
    check: bool = True,
    max_seconds: float | None = None,
    min_seconds: float = MIN_SECONDS,
    max_samples: int | None = None,
    sampling_rate: int = 16_000,
    num_proc: int | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | None = None,
) -> Examples:
    """Load recordings with their texts. Code in a data set is never run.

    Args:
        name: one of

            - a table: .jsonl, .json, .csv, .tsv or .parquet, with audio as paths relative to the table's folder,
              addresses or, in parquet, bytes or dicts;
            - a folder: one written by `Dataset.save_to_disk`; or with a table named after the split (for "train" also
              ``manifest`` or ``metadata``), or in a folder named after the split; or with ``metadata`` next to that
              folder, of which only the rows with recordings in the folder are used; or with parquet files;
            - a data set on the Hub, ``user/name`` or ``user/name@revision``.
        split: the split, "train" by default. Ignored for a single table.
        config_name: the configuration of a data set on the Hub.
        audio_column: the audio column; None for the one with a usual name.
        text_column: the column with the text the model should produce; likewise.
        prompt_column: the column with the prompt; likewise, and "" for none.
        prompt_required: treat rows without a prompt as bad, since there is no default prompt.
        flatten_texts: make one example per text if a row has a list of texts, such as captions; otherwise such a row
            is bad.
        skip_bad: skip bad rows with a warning instead of raising.
        check: decode every recording. Otherwise only the texts and the existence of files are checked.
        max_seconds: the maximum length of a recording, the model's limit. None for no limit.
        min_seconds: the minimum length.
        max_samples: number of rows to read, from the first; None for all.
        sampling_rate: the model's rate.
        num_proc: number of recordings decoded at once, in threads; None for one per core.
        revision: the revision of a data set on the Hub.
        token: token for the Hub.
        cache_dir: where `datasets` and the Hub cache what they fetch or convert.

    Returns:
        The examples, in the order of the table.

    Raises:
        FileNotFoundError: nothing with this name exists.
        ValueError: a table cannot be read, no column or more than one matches a role (prompts are optional unless
            required), rows are bad (the first few are listed with the reason), or no row is usable.
        ConnectionError: the Hub could not be reached.

    Example:
        >>> from hf_tokcomp.data import load_examples
        >>> load_examples("my_recordings", split="train", max_samples=2).dataset["text"][0]
        'seven three one zero nine'
    """
    for option, given in (("max_samples", max_samples), ("num_proc", num_proc), ("sampling_rate", sampling_rate)):
        if given is not None and given < 1:
            raise ValueError(f"{option} is at least 1, not {given}.")
    table = Source(split, config_name, revision, token, cache_dir).open(str(name)).first(max_samples)
    if not len(table.content):
        raise ValueError(f"{table.name} has no rows.")
    audio_name = required_column(table, "audio", audio_column, AUDIO)
    text_name = required_column(table, "text", text_column, TEXT)
    prompt_name = None if prompt_column == "" else find_column(table, "prompt", prompt_column, PROMPT)
    if prompt_required and prompt_name is None:
        raise ValueError(
            f"{table.name} has no prompts, and none was given; its columns are {several(table.columns)}: name "
            "theirs with prompt_column=... (--columns question:NAME), or give one for all rows (--prompt)."
        )

    audio, wrong = audio_table(table, audio_name, sampling_rate)
    spoken = all_texts(table, text_name, flatten_texts, wrong)
    asked = None if prompt_name is None else all_prompts(table, prompt_name, wrong, prompt_required)
    rows = [row for row in range(len(audio)) if row not in wrong]
    found, lengths = check_audio(audio, rows, AudioCheck(check, min_seconds, max_seconds, sampling_rate), num_proc)
    wrong |= found

    skipped = report(table, wrong, skip_bad)
    return Examples(joined(audio, spoken, asked, lengths, set(wrong)), len(audio), skipped, table.unit)
