"""Ctrl-C on the command line: what is kept then, and the command that goes on."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..reporting.console import PROGRAM

ARGUMENTS: ContextVar[tuple[str, ...]] = ContextVar("hf_tokcomp_arguments", default=())
"""Those of the command that is running."""


class Interrupted(Exception):
    """Ctrl-C; the text says what is kept, and how to go on."""


@contextmanager
def keeping(what: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C within the ``with`` block is an `Interrupted`.

    Args:
        what: says what is kept at that moment, and how to go on.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(what()) from error


def same_command(*more: str, processes: int = 1) -> str:
    """The command that is running, to go on with, with more arguments where it does not have them."""
    given = ARGUMENTS.get()
    added = () if more and more[0] in given else more
    if processes > 1:  # whatever launched them stands before it
        return " ".join(("the same command", *added))
    return shlex.join((PROGRAM, *given, *added))
