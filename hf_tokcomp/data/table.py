"""Table: a table of recordings as found, with its rows, its columns and how messages refer to a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets


@dataclass(frozen=True, eq=False)
class Table:
    """A table as found, before any check.

    Args:
        name: its name in messages.
        content: rows of a text table, or a `datasets.Dataset` with undecoded audio.
        folder: the folder that paths are relative to.
        lines: the line of each row, if the table has lines.
        rows: the original index of each row, if this is part of a table without lines.
        confined: paths must lead to files in `folder`, because they are untrusted.
    """

    name: str
    content: list[dict[str, Any]] | datasets.Dataset
    folder: Path | None = None
    lines: list[int] | None = None
    rows: Sequence[int] | None = None
    confined: bool = False

    @property
    def unit(self) -> str:
        """The unit in which rows are numbered: "line" of the file, from 1; or "row", from 0."""
        return "row" if self.lines is None else "line"

    def number(self, row: int) -> int:
        """The number of a row, in `unit`."""
        numbers = self.rows if self.lines is None else self.lines
        return row if numbers is None else numbers[row]

    @property
    def columns(self) -> list[str]:
        """The names of the columns; those of all rows together if rows differ."""
        if isinstance(self.content, list):
            return list(dict.fromkeys(key for row in self.content for key in row))
        return list(self.content.column_names)

    def first(self, rows: int | None) -> Table:
        """The table with the first rows only; all rows for None."""
        if rows is None or rows >= len(self.content):
            return self
        return self.only(range(rows))

    def only(self, rows: Sequence[int]) -> Table:
        """The table with these rows only, which keep their numbers."""
        part = [self.content[row] for row in rows] if isinstance(self.content, list) else self.content.select(rows)
        numbers = [self.number(row) for row in rows]
        lined = self.lines is not None
        return replace(self, content=part, lines=numbers if lined else None, rows=None if lined else numbers)
