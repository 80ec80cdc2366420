"""Output of the command line: tables, JSON, warnings and errors."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..messages import shortened

PROGRAM = "hf-tokcomp"
LONGEST_WORD = 400


def print_json(values: Any) -> None:
    """Print indented JSON to stdout."""
    print(json.dumps(values, indent=2, ensure_ascii=False), flush=True)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None, right: Sequence[str] = ()
) -> None:
    """Print a table to stdout, fitted to the terminal, or as wide as needed if the output is piped.

    Args:
        columns: headings.
        rows: cells.
        title: a line above the table.
        right: headings of right-aligned columns.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: brackets in file names are not markup
    if title is not None:
        print(title)
    if sys.stdout.isatty():
        Console(file=sys.stdout).print(table)
    else:
        # So that nothing is cut or wrapped, without colours or trailing spaces.
        console = Console(width=100_000, color_system=None)
        with console.capture() as capture:
            console.print(table)
        for line in capture.get().splitlines():
            print(line.rstrip())
    sys.stdout.flush()


def complain(kind: str, message: object) -> None:
    """Print a message to stderr as one line: ``hf-tokcomp: error: ...``.

    Very long words are shortened, since messages, including those of other libraries, repeat given paths and names.
    """
    line = " ".join(shortened(word, LONGEST_WORD) for word in str(message).split())
    print(f"{PROGRAM}: {kind}: {line}", file=sys.stderr, flush=True)


class _OneLine(logging.Handler):
    """Writes each log record as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.levelname.lower(), record.getMessage())


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence the noise of libraries on the command line; warnings of hf_tokcomp are kept, one line each."""
    own, handler = logging.getLogger("hf_tokcomp"), _OneLine(logging.WARNING)
    own.addHandler(handler)
    own.propagate = False
    try:
        with warnings.catch_warnings():
            if not debugging():
                warnings.showwarning = _show_own_warnings
            yield
    finally:
        own.removeHandler(handler)
        own.propagate = True


def _show_own_warnings(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if "hf_tokcomp" in str(message) or "hf_tokcomp" in filename:
        complain("warning", message)


def quiet_transformers() -> None:
    """Hide messages below errors and the weight loading bar. Call only if a model is loaded: imports transformers."""
    if debugging():
        return
    import transformers
    from huggingface_hub.utils.tqdm import enable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # one line for each of five attempts to reach the Hub
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if sys.stderr.isatty():  # the above also hid the download bars, which are useful
        enable_progress_bars()


def debugging() -> bool:
    """Whether tracebacks and the libraries' own messages are wanted (``HF_TOKCOMP_DEBUG=1``)."""
    return os.environ.get("HF_TOKCOMP_DEBUG", "") not in ("", "0")
