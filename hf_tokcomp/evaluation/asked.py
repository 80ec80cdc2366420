"""`Asked`: a task with its items and the prompt for each of them."""

from __future__ import annotations

from dataclasses import dataclass

from .items import Items
from .speech import Transcriber
from .task import Task


@dataclass(frozen=True, eq=False)
class Asked:
    """A task with its items and the prompt for each of them.

    Args:
        task: the task.
        items: its items.
        prompts: the instruction for each item.
        max_new_tokens: maximum length of an answer.
        by_likelihood: answer with the most likely option instead of generating.
        template: the template the prompts were built from.
        cut: number of recordings that are longer than the model's limit; only their beginning is used.
        whole: whether these are all the items of the benchmark.
        transcriber: for a spoken task, how its answers are spoken and written down.
    """

    task: Task
    items: Items
    prompts: list[str]
    max_new_tokens: int
    by_likelihood: bool = False
    template: str = ""
    cut: int = 0
    whole: bool = True
    transcriber: Transcriber | None = None
