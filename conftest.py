"""Lets the tests run from a bare checkout: without an install, `patches/` is not yet `hf_tokcomp.patches`.

That this file is here also puts this folder on the path, where `recipes` is found, which nothing installs.
Nothing is imported for it: pytest-xdist's own process runs no test and needs no torch.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any


class FromCheckout:
    """The last finder of all: it is asked where no install has `hf_tokcomp.patches`."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The folder `patches/` beside this file."""
        return PathFinder.find_spec(name, [str(Path(__file__).resolve().parent)]) if name == PATCHES else None


PATCHES = "hf_tokcomp.patches"
sys.meta_path.append(FromCheckout)  # type: ignore[arg-type]
