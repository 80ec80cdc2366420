"""Making errors end the run: lmms-eval's command line would print them and exit with status 0."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def failing_the_run() -> Iterator[None]:
    """Make errors end the run; use it as a context manager or, with ``()``, as a decorator.

    The command line of lmms-eval 0.7.3 catches every `Exception`, continues without a table and exits with status 0,
    unless ``--verbosity DEBUG`` is given; with several processes, the others wait for the one that failed. `SystemExit`
    is not an `Exception`. If called from a program, as by ``lmms_eval.evaluator.simple_evaluate``, errors are not
    changed.

    Raises:
        SystemExit: under the command line, with the error's message and status 1, after printing the traceback.
    """
    try:
        yield
    except Exception as error:
        if not _below_command_line():
            raise
        traceback.print_exc()
        raise SystemExit(f"hf_tokcomp: error: {error}") from error


def _below_command_line() -> bool:
    """Whether lmms-eval's command line is among the callers, started as a module or as a script."""
    return any(
        frame.f_code.co_name == "cli_evaluate" and frame.f_globals.get("__package__") == "lmms_eval"
        for frame, _ in traceback.walk_stack(None)
    )
