"""What a shell completes; it imports nothing that takes a second."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

NO_METHOD = ("__init__", "base", "learned")
"""Files in the folder of methods that hold none."""
POSITIONS = ("contiguous", "original")


def method_names() -> list[str]:
    """The keys of all methods, ours and those of installed packages, without importing one."""
    folder = Path(__file__).parents[1] / "compressors"
    ours = {file.stem for file in folder.glob("*.py") if file.stem not in NO_METHOD}
    return sorted(ours | {point.name for point in entry_points(group="hf_tokcomp.compressors")})


def complete_method(incomplete: str) -> list[str]:
    """The methods whose keys begin so."""
    return [name for name in method_names() if name.startswith(incomplete)]


def complete_compression(incomplete: str) -> list[str]:
    """The methods, also behind the plus signs of a composition."""
    before, last = re.fullmatch(r"(.*\+)?([^+]*)", incomplete, re.DOTALL).groups(default="")  # type: ignore[union-attr]
    return [before + name for name in complete_method(last)]


def complete_compressions(incomplete: str) -> list[str]:
    """The same, and what stands for all methods."""
    return [name for name in ("all",) if name.startswith(incomplete)] + complete_compression(incomplete)


def complete_positions(incomplete: str) -> list[str]:
    """The kinds of positions, also behind a comma."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + kind for kind in POSITIONS if kind.startswith(last)]
