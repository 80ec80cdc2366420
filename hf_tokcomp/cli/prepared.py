"""A command that needs the library: torch and transformers are imported once its files are known to be there."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

from .. import ready, starting
from ..audio.addresses import check_there, is_address
from ..reporting.options import one_of


def prepared(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, with the library ready: imports take seconds, so what names no file says so before them."""

    @functools.wraps(command)
    def run(**given: Any) -> Any:
        if given.get("on_error", "stop") == "stop":
            check_audio(given.get("audio") or ())
        with starting.importing():
            ready()
        return command(**given)

    return run


def check_audio(names: str | Sequence[str]) -> None:
    """Raise where a recording is on this machine and not there.

    Raises:
        FileNotFoundError: so it is.
    """
    listed = [names] if isinstance(names, str) else names
    for name in listed:
        try:
            if not is_address(name) and not os.path.isdir(name):
                check_there(name)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error} {one_of(len(listed))}".rstrip()) from None
