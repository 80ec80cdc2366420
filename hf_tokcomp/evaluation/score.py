"""`Score`: one number in a table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Score:
    """One number in a table.

    Args:
        task: the task's name.
        subset: the part of the task; "" for the whole.
        metric: the metric's key.
        method: the name of the method in tables.
        ratio: the requested retention ratio; None if the config has another kind of budget.
        positions: None for `none`.
        value: over all items and seeds together, in the unit of the metric.
        low: lower bound of the 95 % interval over recordings; nan if there is only one recording.
        high: upper bound.
        difference: difference from `none`, on the same items.
        difference_low: lower bound of its 95 % interval.
        difference_high: upper bound.
        by_seed: the value for each seed, if there are several.
        items: number of items.
        kept: the fraction of the sound's tokens actually kept, averaged over items and seeds.
        unfinished: the fraction of answers that were cut off at the maximum length.
        asked: the fraction of them that the budget allows, averaged over items and seeds; nan without one.
    """

    task: str
    subset: str
    metric: str
    method: str
    ratio: float | None
    positions: str | None
    value: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    by_seed: tuple[float, ...]
    items: int
    kept: float
    unfinished: float = 0.0
    asked: float = math.nan


def read_scores(file: Path) -> list[Score]:
    """Read the scores from a ``results.json`` file."""
    return as_scores(json.loads(file.read_text(encoding="utf-8"))["scores"])


def as_scores(written: Sequence[Mapping[str, Any]]) -> list[Score]:
    """Scores from the values that JSON has of them, with nan restored from null."""
    found = []
    for values in written:
        numbers = {
            name: math.nan if value is None and name not in ("ratio", "positions") else value
            for name, value in values.items()
        }
        by_seed = tuple(math.nan if value is None else value for value in values["by_seed"])
        found.append(Score(**numbers | {"by_seed": by_seed}))
    return found
