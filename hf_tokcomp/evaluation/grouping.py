"""Rows of a table that belong to one item: a caption or an answer each."""

from __future__ import annotations

from collections.abc import Sequence

from .task import Row


def gathered(rows: Sequence[Row], *keys: str) -> list[Row]:
    """One row for those that agree in `keys`, in the order of the first ones, with the texts of all.

    Args:
        rows: with ``text``, a list.
        keys: names of values that can be compared.
    """
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = tuple(str(row[name]) for name in keys)
        if key in found:
            found[key]["text"] = [*found[key]["text"], *row["text"]]
        else:
            found[key] = dict(row)
    return list(found.values())


def one_item_per_recording(rows: Sequence[Row]) -> list[Row]:
    """Captions of the same recording are references of one item."""
    return gathered(rows, "recording")
