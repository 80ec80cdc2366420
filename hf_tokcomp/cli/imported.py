"""`--import MODULE`: custom methods and models from a module or a .py file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from .groups import RUNNING

ImportOption = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE|FILE.py",
        rich_help_panel=RUNNING,
        help="Import this module first, to register your own methods or models; can be repeated.",
    ),
]


def check_modules(names: Sequence[str]) -> None:
    """Check that the modules and files exist, before anything is imported.

    Raises:
        FileNotFoundError: a file does not exist.
        ModuleNotFoundError: a module does not exist.
    """
    _find_here()
    for name in names:
        if _is_file(name):
            if not os.path.isfile(name):
                raise FileNotFoundError(f"--import {name}: there is no such file.")
        elif not _is_there(name.partition(".")[0]):
            raise ModuleNotFoundError(f"--import {name}: there is no such module; a file is named with its .py.")


def import_modules(names: Sequence[str]) -> None:
    """Import modules by name, searching the working directory too, or from files.

    Raises:
        ImportError: a module cannot be imported; the message says why.
    """
    check_modules(names)
    for name in names:
        try:
            if _is_file(name):
                _from_file(Path(name))
            else:
                importlib.import_module(name)
        except (Exception, SystemExit) as error:  # user modules may raise anything
            raise ImportError(f"--import {name}: {type(error).__name__}: {error}") from error


def _is_file(name: str) -> bool:
    return name.endswith(".py") or os.sep in name


def _is_there(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ValueError:  # the empty name
        return False


def _find_here() -> None:
    """Let modules in the working directory be found, after all others."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _from_file(file: Path) -> ModuleType:
    """Import the module in a file under the file's own name; modules next to it can be imported, too.

    Raises:
        ImportError: another module has the same name.
    """
    path, name = file.resolve(), file.stem
    there = sys.modules.get(name)
    if there is not None:
        origin = getattr(there, "__file__", None)
        if origin is not None and Path(origin).resolve() == path:
            return there
        raise ImportError(f"another module is called {name!r}; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
