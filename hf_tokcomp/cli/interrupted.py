"""Ctrl-C on the command line: report what is kept, and the command to resume with."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..reporting.console import PROGRAM

ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("hf_tokcomp_arguments", default=())
"""The arguments of the running command."""


class Interrupted(Exception):
    """Ctrl-C; the message says what is kept and how to resume."""


@contextmanager
def keeping(what: Callable[[], str]) -> Iterator[None]:
    """Raise `Interrupted` on Ctrl-C within the ``with`` block.

    Args:
        what: returns what is kept at that moment, and how to resume.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(what()) from error


def same_command(*more: str, processes: int = 1) -> str:
    """The running command, for resuming, with more arguments added unless it already has them."""
    given = ARGUMENTS.get()
    added = () if more and more[0] in given else more
    if processes > 1:  # it was started through a launcher
        return " ".join(("the same command", *added))
    return shlex.join((PROGRAM, *given, *added))
