"""A table of recordings as it was found: its rows, its columns, and what a row is called in messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it was found.

    Args:
        name: how messages call it.
        content: rows of a text table, or a `datasets.Dataset` with its audio undecoded.
        folder: where relative paths start.
        lines: the line of each row, where there are lines.
        rows: where each row was, of a table that is part of another without lines.
        confined: paths must lead to files in `folder`: a stranger wrote them.
    """

    name: str
    content: list[dict[str, Any]] | datasets.Dataset
    folder: Path | None = None
    lines: list[int] | None = None
    rows: Sequence[int] | None = None
    confined: bool = False

    @property
    def unit(self) -> str:
        """What rows are counted in: "line", of the file and from 1; or "row", from 0."""
        return "row" if self.lines is None else "line"

    def number(self, row: int) -> int:
        """The number of a row, in `unit`."""
        numbers = self.rows if self.lines is None else self.lines
        return row if numbers is None else numbers[row]

    @property
    def columns(self) -> list[str]:
        """The names of the columns; those of any row where rows differ."""
        if isinstance(self.content, list):
            return list(dict.fromkeys(key for row in self.content for key in row))
        return list(self.content.column_names)

    def first(self, rows: int | None) -> Table:
        """The table of the first rows; all of them for None."""
        if rows is None or rows >= len(self.content):
            return self
        return self.only(range(rows))

    def only(self, rows: Sequence[int]) -> Table:
        """The table of some rows, which keep their lines."""
        part = [self.content[row] for row in rows] if isinstance(self.content, list) else self.content.select(rows)
        numbers = [self.number(row) for row in rows]
        lined = self.lines is not None
        return replace(self, content=part, lines=numbers if lined else None, rows=None if lined else numbers)
