"""Asked: a task with its items, and what the model is asked about each."""

from __future__ import annotations

from dataclasses import dataclass

from .items import Items
from .task import Task


@dataclass(frozen=True, eq=False)
class Asked:
    """A task with its items and what is asked about each.

    Args:
        task: the task.
        items: its items.
        prompts: the instruction of each.
        max_new_tokens: of an answer.
        by_likelihood: answer with the likeliest option instead of generating.
        template: what the prompts were made of.
        cut: how many recordings are longer than the model reads; it hears their beginning.
        whole: whether these are all items of the benchmark.
    """

    task: Task
    items: Items
    prompts: list[str]
    max_new_tokens: int
    by_likelihood: bool = False
    template: str = ""
    cut: int = 0
    whole: bool = True
