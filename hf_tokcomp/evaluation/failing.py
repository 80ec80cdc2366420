"""Detect tasks on which the uncompressed model itself fails, so that scores cannot show the cost of compression."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .asked import Asked
from .score import Score

WORST_WER = 50.0
"""Word error rate in %: above it, a further loss cannot be measured."""
ADVICE = "What compression costs cannot be seen on it: check the prompt, the data and the model."


def failures(scores: Sequence[Score], asked: Sequence[Asked]) -> list[str]:
    """A sentence for every task, or part of a task, that the model fails with all tokens.

    Args:
        scores: the scores of one model, including `none`.
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
    """The message for a word error rate in % above `WORST_WER`."""
    return f"{name}: the uncompressed model itself gets {value:.1f} % of the words wrong. {ADVICE}"


def _chance(task: Asked, subset: str) -> float:
    """Accuracy of random guessing, in %."""
    shares = [1 / len(item.choices) for item in task.items.items if item.choices and subset in ("", item.subset)]
    return 100 * sum(shares) / len(shares) if shares else 0.0
