"""Where `hf-tokcomp bench` writes: a JSON file that grows, the terminal, and a section of a page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..hub.whole_files import write_whole
from ..reporting.console import print_json
from ..reporting.pages import check_place, fill_place, show


class Results:
    """The outputs of one run, checked before anything is measured.

    Args:
        tables: the module that makes tables, notes and a page of a report.
        output: the JSON file, or None.
        markdown: the page, perhaps with # and a name, or None.

    Raises:
        FileNotFoundError: the file's folder or the page does not exist.
        ValueError: the page has no place for the tables.
    """

    def __init__(self, tables: Any, output: Path | None, markdown: str | None) -> None:
        if output is not None and not output.absolute().parent.is_dir():
            raise FileNotFoundError(f"There is no folder {output.absolute().parent} to write {output.name} to.")
        name, hash_, place = (markdown or "").partition("#")
        self.tables, self.output, self.saved = tables, output, False
        self.page, self.begin = None if markdown is None else Path(name), tables.BEGIN.format(place=hash_ + place)
        if self.page is not None:
            check_place(self.page, self.begin)

    def save(self, report: dict[str, Any]) -> None:
        """Write the report so far."""
        if self.output is not None:
            write_whole(self.output, json.dumps(report, indent=2) + "\n")
            self.saved = True

    def kept(self) -> str:
        """What is kept when the run is interrupted now."""
        if self.saved:
            return f"{self.output} has what was measured so far."
        return "Nothing was kept; --output FILE keeps it."

    def finish(self, report: dict[str, Any], left_out: dict[str, str], as_json: bool) -> None:
        """Write and print the whole report, with the methods that could not be measured."""
        report["not_measured"] = left_out
        self.save(report)
        if self.page is not None:
            fill_place(self.page, self.begin, self.tables.markdown(report))
        if as_json:
            print_json(report)
        else:
            show(self.tables.tables(report), self.tables.notes(report))


def tell(line: str) -> None:
    """Show on a terminal what is being measured; a progress bar's thread would affect the measurement."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
