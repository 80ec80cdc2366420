"""`Asked`: a task with its items and the prompt for each of them."""

from __future__ import annotations

from dataclasses import dataclass

from ..messages import how_asked
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

    @property
    def prompt(self) -> str:
        """The prompt that every item was asked; if theirs differ, the template."""
        return self.prompts[0] if len(set(self.prompts)) == 1 else self.template

    def how(self, length: int = 160) -> str:
        """How the items were asked, for a heading; a longer prompt is shortened to this length."""
        differ = len(set(self.prompts)) > 1
        own = self.task.own and all(item.question for item in self.items.items)
        if differ and (own or self.template == "{question}"):
            return "each asked its own question"
        return how_asked(self.prompt, length)
