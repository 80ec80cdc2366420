"""Texts and prompts of a table, and joining them with the audio into one table without copying the audio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import datasets
import pyarrow as pa

from .columns import texts, values
from .table import Table


def all_texts(
    table: Table, column: str, flatten: bool, wrong: dict[int, str], required: bool = True
) -> list[list[str]]:
    """The texts of every row; rows without a valid text are added to `wrong`, unless texts are not required."""
    found = []
    for row, value in enumerate(values(table, column)):
        try:
            several = texts(value)
        except ValueError as error:
            wrong.setdefault(row, str(error))
            several = [""]
        if required and not all(several):
            wrong.setdefault(row, "the text is empty")
        elif len(several) > 1 and not flatten:
            way = (
                "flatten_texts=True makes an example of each, for captions" if required else "only `eval` takes several"
            )
            wrong.setdefault(row, f"there are {len(several)} texts; {way}")
        found.append(several)
    return found


def all_prompts(table: Table, column: str, wrong: dict[int, str], required: bool = False) -> list[str | None]:
    """The prompt of every row, or None; rows with an invalid prompt are added to `wrong`.

    If prompts are required, so are rows without one.
    """
    found: list[str | None] = []
    for row, value in enumerate(values(table, column)):
        try:
            several = texts(value)
        except ValueError as error:
            wrong.setdefault(row, str(error).replace("the text", "the prompt"))
            several = [""]
        if len(several) > 1:
            wrong.setdefault(row, f"there are {len(several)} prompts")
        elif required and not several[0]:
            wrong.setdefault(row, "there is no prompt")
        found.append(several[0] or None)
    return found


def joined(
    audio: datasets.Dataset,
    spoken: list[list[str]],
    asked: list[str | None] | None,
    lengths: Mapping[int, int],
    wrong: set[int],
) -> datasets.Dataset:
    """One table of audio, texts, prompts and, if known, lengths, without the bad rows.

    Audio is never copied: if rows have several texts, tables with the first, the second ... text of every row are
    concatenated, and the result selects rows from them.
    """
    layers = max(len(several) for row, several in enumerate(spoken) if row not in wrong)
    tables: list[Any] = []
    for layer in range(layers):
        column: dict[str, Any] = {"text": [several[layer] if layer < len(several) else None for several in spoken]}
        if asked is not None:
            column["prompt"] = asked
        added = {key: pa.array(value, pa.string()) for key, value in column.items()}
        if lengths:
            added["length"] = pa.array([lengths.get(row, 0) for row in range(len(spoken))], pa.int64())
        tables.append(datasets.concatenate_datasets([audio, datasets.Dataset(pa.table(added))], axis=1))
    order = [
        layer * len(spoken) + row
        for row, several in enumerate(spoken)
        if row not in wrong
        for layer in range(len(several))
    ]
    whole = tables[0] if layers == 1 else datasets.concatenate_datasets(tables)
    return whole if order == list(range(len(whole))) else whole.select(order)
