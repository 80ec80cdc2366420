"""Group table rows, each with one caption or answer, into items."""

from __future__ import annotations

from collections.abc import Sequence

from .task import Row


def gathered(rows: Sequence[Row], *keys: str) -> list[Row]:
    """Merge rows that agree in `keys`, collecting their texts, in order of first appearance.

    Args:
        rows: rows whose ``text`` is a list.
        keys: names of the columns to compare.
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
    """Merge captions of the same recording into the references of one item."""
    return gathered(rows, "recording")
