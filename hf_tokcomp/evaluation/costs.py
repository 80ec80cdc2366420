"""The cost of processing a task's items under each run: audio tokens and, if measured, seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .asked import Asked
from .journal import Given, Key
from .plan import Run


@dataclass(frozen=True)
class Cost:
    """Sums over a task's items under one run.

    Args:
        task: the task's name.
        run: the run's key.
        items: number of items.
        tokens_before: audio tokens before compression.
        tokens_after: audio tokens that the language model read.
        tokens_asked: audio tokens that the budgets allow; None without a budget.
        prefill_seconds: time to the first token; None if not measured.
        decode_seconds: time after the first token; None if not measured.
        speech_seconds: time for the speech; None if not measured, or if answers are not spoken.
    """

    task: str
    run: str
    items: int
    tokens_before: int
    tokens_after: int
    tokens_asked: int | None
    prefill_seconds: float | None
    decode_seconds: float | None
    speech_seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The values for the result file."""
        return asdict(self)


def costs(asked: Sequence[Asked], runs: Sequence[Run], answers: Mapping[Key, Given]) -> list[Cost]:
    """The costs of every task under every run.

    Args:
        asked: the tasks.
        runs: the runs, all of them complete.
        answers: the answers in the journal.
    """
    found = []
    for task in asked:
        for run in runs:
            given = [answers[task.task.name, item.id, run.key] for item in task.items.items]
            wanted = [each.tokens_asked for each in given if each.tokens_asked is not None]
            prefill, decode, speech = (
                round(sum(each.seconds[phase] for each in given), 4)
                if all(len(each.seconds) > phase for each in given)
                else None
                for phase in (0, 1, 2)
            )
            found.append(
                Cost(
                    task.task.name,
                    run.key,
                    len(given),
                    sum(each.tokens_before for each in given),
                    sum(each.tokens_after for each in given),
                    sum(wanted) if len(wanted) == len(given) else None,
                    prefill,
                    decode,
                    speech,
                )
            )
    return found
