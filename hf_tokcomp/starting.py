"""Ctrl-C while the command line starts: its imports take seconds, and a traceback through them tells nobody anything.

Imported before everything else. In a program that is not ``hf-tokcomp`` or ``python -m hf_tokcomp`` it changes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from types import FrameType

INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended, as shells have it."""


def _is_the_command_line() -> bool:
    if parent_process() is not None:  # a worker, which has the arguments of the program that began it
        return False
    if sys.argv[:1] == ["-m"]:  # as long as the packages around a module that is run are imported
        return ("-m", "hf_tokcomp") in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return os.path.splitext(name)[0].removesuffix("-script") == "hf-tokcomp"


def _end_at_once(number: int, frame: FrameType | None) -> None:
    # No exception: what is being imported might take it for a failure of its own.
    os.write(2, b"hf-tokcomp: error: Interrupted.\n")
    os._exit(INTERRUPTED)


def begun() -> None:
    """From now on Ctrl-C is a KeyboardInterrupt again."""
    _change(_end_at_once, signal.default_int_handler)


@contextmanager
def importing() -> Iterator[None]:
    """Within, Ctrl-C ends the command line at once, as while it starts."""
    changed = COMMAND_LINE and _change(signal.default_int_handler, _end_at_once)
    try:
        yield
    finally:
        if changed:
            begun()


def ended() -> None:
    """From now on Ctrl-C ends the program without a word: everything has been said."""
    if _watching:
        _change(signal.default_int_handler, signal.SIG_DFL)


def _change(old: signal._HANDLER, new: signal._HANDLER) -> bool:
    """Take up another handler in place of this one; nobody else's is touched, nor a signal that is ignored."""
    if signal.getsignal(signal.SIGINT) is not old:
        return False
    try:
        signal.signal(signal.SIGINT, new)
    except ValueError:  # not the main thread
        return False
    return True


COMMAND_LINE = _is_the_command_line()
"""Whether this process is ``hf-tokcomp`` or ``python -m hf_tokcomp``."""
_watching = COMMAND_LINE and _change(signal.default_int_handler, _end_at_once)
