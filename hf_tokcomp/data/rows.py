"""read_rows: the rows of a table before any recording is read; texts and prompts where they are known."""

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
        audio: ``{"bytes", "path"}``, undecoded, its path absolute.
        text: what there is to read; None where that is not known.
        prompt: what is asked; None for the usual.
        wrong: why it cannot be used; None where it can, as far as is known without reading the audio.
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
    """The rows of all that `load_examples` takes, and of a folder of recordings without any table.

    Args:
        name: a table, a folder or a data set on the Hub.
        split: which part, "train" by default. It means nothing for a single table.
        columns: names of columns by role: audio, text and question; without one, that with a usual name.
        skip_bad: give bad rows, too, with what is wrong, instead of stopping.
        max_samples: how many rows are read, from the first; None for all.
        sampling_rate: of arrays that come without a rate.

    Raises:
        FileNotFoundError: there is nothing under this name.
        ValueError: a table cannot be read, no column or more than one fits, or rows are bad, as in `load_examples`; but
            no row needs a text.
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
