"""Where the uncompressed model itself fails, no number beside it says what compression costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .asked import Asked
from .score import Score

WORST_WER = 50.0
"""Word errors in %: above it nothing is left to lose that one could measure."""
ADVICE = "What compression costs cannot be seen on it: check the prompt, the data and the model."


def failures(scores: Sequence[Score], asked: Sequence[Asked]) -> list[str]:
    """A sentence for every task, or part of one, that the model with all tokens cannot do.

    Args:
        scores: of one model, `none` among them.
        asked: the tasks.
    """
    tasks = {each.task.name: each for each in asked}
    found = []
    for score in scores:
        task = tasks.get(score.task)
        if score.method != "none" or score.ratio not in (None, 1.0) or task is None:
            continue
        name = task.task.title + (f", {score.subset}" if score.subset else "")
        if score.metric in ("wer", "wer_plain") and score.value > WORST_WER:
            found.append(failed_words(name, score.value))
        elif score.metric == "accuracy" and task.task.kind == "multiple_choice":
            chance = _chance(task, score.subset)
            if (score.value if math.isnan(score.low) else score.low) <= chance:
                found.append(
                    f"{name}: the uncompressed model itself is within noise of chance, {score.value:.1f} % right where "
                    f"guessing has {chance:.1f} %. {ADVICE}"
                )
    return list(dict.fromkeys(found))


def failed_words(name: str, value: float) -> str:
    """What is said of a word error rate in % that is above `WORST_WER`."""
    return f"{name}: the uncompressed model itself gets {value:.1f} % of the words wrong. {ADVICE}"


def _chance(task: Asked, subset: str) -> float:
    """Options in % that are right when they are drawn."""
    shares = [1 / len(item.choices) for item in task.items.items if item.choices and subset in ("", item.subset)]
    return 100 * sum(shares) / len(shares) if shares else 0.0
