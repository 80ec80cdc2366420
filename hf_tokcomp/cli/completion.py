"""Shell completion, without any slow imports."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

NO_METHOD = ("__init__", "base", "learned")
"""Files in the methods folder that contain no method."""
POSITIONS = ("contiguous", "original")


def method_names() -> list[str]:
    """The keys of all methods, built-in and from installed packages, without importing any."""
    folder = Path(__file__).parents[1] / "compressors"
    ours = {file.stem for file in folder.glob("*.py") if file.stem not in NO_METHOD}
    return sorted(ours | {point.name for point in entry_points(group="hf_tokcomp.compressors")})


def complete_method(incomplete: str) -> list[str]:
    """The methods whose keys begin with the given text."""
    return [name for name in method_names() if name.startswith(incomplete)]


def complete_compression(incomplete: str) -> list[str]:
    """The methods, also after the plus signs of a composition."""
    before, last = re.fullmatch(r"(.*\+)?([^+]*)", incomplete, re.DOTALL).groups(default="")  # type: ignore[union-attr]
    return [before + name for name in complete_method(last)]


def complete_compressions(incomplete: str) -> list[str]:
    """The same, plus the name that stands for all methods."""
    return [name for name in ("all",) if name.startswith(incomplete)] + complete_compression(incomplete)


def complete_positions(incomplete: str) -> list[str]:
    """The kinds of positions, also after a comma."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + kind for kind in POSITIONS if kind.startswith(last)]
