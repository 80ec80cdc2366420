"""Wrap commands that need the library: torch and transformers are imported after checking that all files exist."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any

from .. import ready, starting
from ..audio.addresses import check_there, is_address
from ..data.names import check_dataset
from ..evaluation.kinds import ALIASES
from ..reporting.options import one_of
from .evaluate import by_task
from .imported import ImportOption, check_modules, import_modules


def prepared(command: Callable[..., Any], reads: bool = False, importing: bool = True) -> Callable[..., Any]:
    """Wrap a command to import the library first, and add the option ``--import``.

    Imports take seconds, so missing files are reported before them.

    Args:
        command: the command.
        reads: whether its ``--dataset`` is read; otherwise it is only a name.
        importing: whether there is that option. A command that leaves the work to another program, which would not
            import the modules, has none.
    """
    signature = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def run(*, imports: list[str] | None = None, **given: Any) -> Any:
        check_modules(imports or ())
        if given.get("on_error", "stop") == "stop":
            check_audio(given.get("audio") or ())
        for name in datasets_of(given) if reads else ():
            check_dataset(name)
        with starting.importing():
            ready()
            import_modules(imports or ())
        return command(**given)

    more = Parameter("imports", Parameter.KEYWORD_ONLY, default=None, annotation=ImportOption)
    parameters = [*signature.parameters.values(), *([more] if importing else [])]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def datasets_of(given: Mapping[str, Any]) -> list[str]:
    """The values of ``--dataset``: one, or one per task for `eval`."""
    named = given.get("dataset")
    if named is None or isinstance(named, str):
        return [] if named is None else [named]
    return list(by_task(named, [ALIASES.get(task, task) for task in given["tasks"]]).values())


def check_audio(names: str | Sequence[str]) -> None:
    """Check that all local recordings exist.

    Raises:
        FileNotFoundError: a recording does not exist.
    """
    listed = [names] if isinstance(names, str) else names
    for name in listed:
        try:
            if not is_address(name) and not os.path.isdir(name):
                check_there(name)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error} {one_of(len(listed))}".rstrip()) from None
