"""Score: one number of a table."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Score:
    """One number of a table.

    Args:
        task: the task's name.
        subset: the part of it; "" for the whole.
        metric: the metric's key.
        method: what tables call the method.
        ratio: the retention ratio asked for; None where the config has another budget.
        positions: None for `none`.
        value: over all items and seeds together, in the metric's unit.
        low: of the 95 % interval over recordings; nan where there is one recording only.
        high: of it.
        difference: to `none`, on the same items.
        difference_low: of its 95 % interval.
        difference_high: of it.
        by_seed: the value of each seed, where there are several.
        items: how many.
        kept: the fraction of audio tokens that was really kept, the mean over items and seeds.
        unfinished: the fraction of answers that were cut off at the greatest length.
        asked: the fraction of audio tokens that the budget asked for, the mean over items and seeds; nan without one.
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
    """The scores in a ``results.json``, as they were before they were written; null is nan there."""
    found = []
    for values in json.loads(file.read_text(encoding="utf-8"))["scores"]:
        numbers = {
            name: math.nan if value is None and name not in ("ratio", "positions") else value
            for name, value in values.items()
        }
        by_seed = tuple(math.nan if value is None else value for value in values["by_seed"])
        found.append(Score(**numbers | {"by_seed": by_seed}))
    return found
