"""The uncompressed model as the first and the last thing measured, which shows how much two equal ones differ."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation.plan import NONE, Run

BASELINES = ("none", "none, again")
"""Their names."""


def between_baselines(runs: Sequence[Run]) -> list[tuple[str, Run]]:
    """The compressions among the runs, each with its name in tables, and `none` before and after them."""
    compressed = [run for run in runs if run.key != NONE.key]
    first, last = BASELINES
    return [(first, NONE), *((run.method, run) for run in compressed), (last, NONE)]
