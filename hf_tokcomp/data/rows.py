"""read_rows: the rows of a table, with texts and prompts if known, before any recording is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .checked import report
from .columns import AUDIO, PROMPT, TEXT, find_column, required_column
from .inline import audio_table
from .joining import all_prompts, all_texts
from .sources import Source

ROLES = ("audio", "text", "question")


@dataclass(frozen=True, eq=False)
class Row:
    """A row of a table.

    Args:
        place: the table and the line or row.
        audio: ``{"bytes", "path"}``, undecoded, with an absolute path.
        text: the reference text; None if unknown.
        prompt: the prompt; None for the default.
        wrong: why the row cannot be used; None if it can, as far as is known without reading the audio.
    """

    place: str
    audio: Mapping[str, Any]
    text: str | None = None
    prompt: str | None = None
    wrong: str | None = None


def read_rows(
    name: str,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    max_samples: int | None = None,
    sampling_rate: int = 16_000,
) -> list[Row]:
    """The rows of anything that `load_examples` takes, or of a folder of recordings without a table.

    Args:
        name: a table, a folder or a data set on the Hub.
        split: the split, "train" by default. Ignored for a single table.
        columns: column names by role: audio, text and question; a missing role uses the column with a usual name.
        skip_bad: return bad rows as well, with the reason, instead of raising.
        max_samples: number of rows to read, from the first; None for all.
        sampling_rate: the rate of arrays that come without one.

    Raises:
        FileNotFoundError: nothing with this name exists.
        ValueError: a table cannot be read, no column or more than one matches a role, or rows are bad, as in
            `load_examples`; but rows need no text.
        ConnectionError: the Hub could not be reached.
    """
    given = dict(columns or {})
    unknown = sorted(set(given) - set(ROLES))
    if unknown:
        raise ValueError(f"There is no role {unknown[0]!r} for a column; the roles are {', '.join(ROLES)}.")
    table = Source(split, bare=True).open(name).first(max_samples)
    if not len(table.content):
        raise ValueError(f"{table.name} has no rows.")
    audio_name = required_column(table, "audio", given.get("audio"), AUDIO)
    text_name = find_column(table, "text", given.get("text"), TEXT)
    prompt_name = find_column(table, "prompt", given.get("question"), PROMPT)
    audio, wrong = audio_table(table, audio_name, sampling_rate)
    unknown_texts: list[list[str]] = [[""]] * len(audio)
    spoken = unknown_texts if text_name is None else all_texts(table, text_name, False, wrong, required=False)
    asked = [None] * len(audio) if prompt_name is None else all_prompts(table, prompt_name, wrong)
    if not skip_bad:
        report(table, wrong, skip_bad=False)
    return [
        Row(
            f"{table.name}, {table.unit} {table.number(row)}", stored["audio"], texts[0] or None, prompt, wrong.get(row)
        )
        for row, (stored, texts, prompt) in enumerate(zip(audio, spoken, asked, strict=True))
    ]
