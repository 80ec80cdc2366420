"""`Task` and `Item`: the questions about recordings and their right answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..hub.prompt_file import StoredPrompt
from .kinds import ALIASES, Kind, kind_named

Row = dict[str, Any]
COMPLETED = {"Qwen2-Audio-7B": "<|audio_bos|><|AUDIO|><|audio_eos|>{prompt}"}
"""Complete prompts for models without chat training, by checkpoint name without the owner."""


@dataclass(frozen=True)
class Item:
    """One question about one audio.

    Args:
        id: its name within the task, the same in every run on the same data.
        question: the item's own question; "" if all items share the same prompt.
        references: one or more right answers.
        choices: the options of a multiple choice question, in order; the reference is one of them.
        recordings: the recordings the audio was made from, for intervals; items that share one are not independent.
        subset: the part of the benchmark it belongs to, if there are parts.
    """

    id: str
    question: str
    references: tuple[str, ...]
    choices: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    subset: str = ""


@dataclass(frozen=True)
class Task:
    """A benchmark, or a task for the user's own recordings.

    Args:
        name: the name on the command line.
        title: the title in tables; "" for the name of the data.
        kind: ``asr``, ``translation``, ``captioning``, ``question_answering`` or ``multiple_choice``.
        metrics: keys of `hf_tokcomp.evaluation.metrics`, the one shown in tables first.
        prompts: prompt templates by ``config.model_type``, "" for all others. ``{question}`` and ``{options}`` are
            replaced by those of the item.
        max_new_tokens: maximum length of an answer; None for the model's own limit, or 128.
        sources: known datasets on the Hub, each with its configuration (None if there is only one) and split; the first
            is the default.
        split: the default split of any other dataset.
        columns: column names used by the benchmark, by role (``audio``, ``text``, ``question``, ``choices``,
            ``subset``, ``id``, ``recordings``); for audio and text, they take precedence over the usual ones. Several
            names joined by ``+`` each hold one text.
        merge: builds the rows of the items from the table rows; None for one item per row.
        subsets: the parts that are scored separately, instead of the whole; () to score everything together.
        metric_options: further arguments of a metric, by its key.
        make: builds the rows from a folder that holds the original corpus instead of a table, given the folder, a split
            (or None), a count and a seed; returns None if the folder is not laid out that way.
        folder: the folder to use if none is given, of data that ship with the package; None for none.
        variable: an environment variable with the folder to use if none is given; "" for none.
        note: a note to show with the results in tables.
        own: for the user's own recordings: the row's own prompt or question is used, if it has one.
        spoken: the answers are spoken, and the speech is written down and scored beside the text. Prompts may contain
            ``{language}``, that of the answers.
        make_in: ``make`` for a language of the answers, given as Whisper's code, where that decides about the rows.

    Raises:
        ValueError: there is no such kind.
    """

    name: str
    title: str
    kind: Kind
    metrics: tuple[str, ...]
    prompts: Mapping[str, str]
    max_new_tokens: int | None = 128
    sources: Mapping[str, tuple[str | None, str]] = field(default_factory=dict)
    split: str = "test"
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    merge: Callable[[Sequence[Row]], list[Row]] | None = None
    subsets: tuple[str, ...] = ()
    metric_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    make: Callable[[Path, str | None, int | None, int], list[Row] | None] | None = None
    folder: Path | None = None
    variable: str = ""
    note: str = ""
    own: bool = False
    spoken: bool = False
    make_in: Callable[[str], Callable[[Path, str | None, int | None, int], list[Row] | None]] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", kind_named(self.kind))

    def template(self, model_type: str, name: str = "", stored: StoredPrompt | None = None) -> str:
        """The prompt template for a model.

        Args:
            model_type: its ``config.model_type``.
            name: the Hub id or folder it was loaded from.
            stored: the prompt that came with it, which is used if it is for this kind of task and items have no
                question of their own.
        """
        own = self.prompts.get(model_type, self.prompts[""])
        if stored is not None and self._fits(stored, own):
            return stored.text
        return COMPLETED.get(re.split(r"[/\\]", name.rstrip("/\\"))[-1], "{prompt}").replace("{prompt}", own)

    def _fits(self, stored: StoredPrompt, own: str) -> bool:
        task = ALIASES.get(stored.task or "", stored.task)
        if "{" in own:  # the rows have the questions, unless the model was trained with one for all
            return self.own and task == self.kind
        return task in (None, self.kind)

    def prompt(self, template: str, item: Item) -> str:
        """The prompt for an item.

        Args:
            template: the task's template, or a custom one, with ``{question}`` and ``{options}`` as placeholders.
            item: the item.
        """
        if self.own and item.question:
            listed = template == self.prompts[""] and _lists(item.question, item.choices)
            if listed or "{question}" not in template:
                return item.question
        options = "\n".join(f"({letter(place)}) {choice}" for place, choice in enumerate(item.choices))
        # Not str.format: questions and complete prompts may contain braces and markers themselves.
        return template.replace("{options}", options).replace("{question}", item.question)


def _lists(question: str, choices: Sequence[str]) -> bool:
    """Whether a question already lists its options, each at the end of a line below the first."""
    lines = question.splitlines()[1:]
    return bool(choices) and all(any(line.rstrip().endswith(choice) for line in lines) for choice in choices)


def letter(place: int) -> str:
    """A, B, ... Z, AA, AB, ... for the options of a question."""
    rest, last = divmod(place, 26)
    return (letter(rest - 1) if rest else "") + chr(ord("A") + last)
