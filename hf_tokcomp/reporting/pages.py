"""Tables of numbers for the terminal and for pages, and the section of a page that a command regenerates."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..hub.whole_files import write_whole
from .console import print_table

END = "<!-- end -->"
NOTHING = "-"


class Table(NamedTuple):
    """A title, headings and cells; all columns except the first are numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def number(value: float) -> str:
    """At most three significant digits, or all digits before the decimal point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percent(share: float) -> str:
    """A fraction in %, without the sign."""
    return "<0.001" if 0 < share < 1e-5 else f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"


def mebibytes(count: float) -> str:
    """Bytes in MiB, without the unit."""
    return number(count / 2**20)


def workload_name(seconds: float, audios: int) -> str:
    """Number and length of the audios: ``8 x 30 s``."""
    length = f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
    return length if audios == 1 else f"{audios} x {length}"


def machine_line(facts: dict[str, Any], dtype: str) -> str:
    """A machine and its versions in one line, from the result of `hf_tokcomp.reporting.machine.machine`."""
    made_by = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    processor = f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads, {facts['memory_gib']} GiB"
    where = processor if facts["gpu"] is None else f"{facts['gpu']}; {processor}"
    load = "" if facts["load"] is None else f" Load at the start: {facts['load']}."
    return f"{facts['date']}. {where}; {dtype}. {made_by}.{load}"


def show(tables: Sequence[Table], notes: Sequence[str]) -> None:
    """Print all tables and notes."""
    for table in tables:
        print_table(table.columns, table.rows, title=table.title, right=table.columns[1:])
        print()
    for line in notes:
        print(line)


def tell(line: str) -> None:
    """Print to stderr what is being measured."""
    print(line, file=sys.stderr, flush=True)


def as_markdown(tables: Sequence[Table], notes: Sequence[str], level: int = 3) -> str:
    """The notes as a list, then the tables, each under a heading of this level."""
    blocks = ["\n".join(f"- {line}" for line in notes)] if notes else []
    for table in tables:
        head = [f"{'#' * level} {table.title}", "", f"| {' | '.join(table.columns)} |"]
        rule = f"|---|{'---:|' * (len(table.columns) - 1)}"
        lines = [f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in table.rows]
        blocks.append("\n".join([*head, rule, *lines]))
    return "\n\n".join(blocks)


def check_place(page: Path, begin: str) -> None:
    """Make sure that a page can be written to; check this before measuring.

    Raises:
        FileNotFoundError: the page does not exist.
        ValueError: the page lacks a marker.
    """
    if not page.is_file():
        raise FileNotFoundError(f"There is no page {page}.")
    _, found, rest = page.read_text(encoding="utf-8").partition(begin)
    if not found or END not in rest:
        raise ValueError(f"{page} has no place for the tables; add the lines {begin!r} and {END!r} into it.")


def fill_place(page: Path, begin: str, text: str) -> None:
    """Replace the text between the two markers of a page.

    Raises:
        what `check_place` raises.
    """
    check_place(page, begin)
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(END)[2]
    write_whole(page, f"{before}{begin}\n\n{text}\n\n{END}{after}")
