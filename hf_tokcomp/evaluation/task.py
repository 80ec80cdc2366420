"""Task and Item: what is asked about recordings, and what the right answer is."""

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
"""Whole prompts of models that have not learned to chat, by the checkpoint's name without its owner."""


@dataclass(frozen=True)
class Item:
    """One thing to ask.

    Args:
        id: its name within the task, the same in every run on the same data.
        question: the item's own words; "" where all items are asked the same.
        references: the right answers, one or several.
        choices: the options of a multiple choice question, in order; the reference is one of them.
        recordings: what the audio was made of, for intervals; items on one recording are not independent.
        subset: the part of the benchmark it belongs to, where there are parts.
    """

    id: str
    question: str
    references: tuple[str, ...]
    choices: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    subset: str = ""


@dataclass(frozen=True)
class Task:
    """A benchmark, or what is asked about recordings of one's own.

    Args:
        name: on the command line.
        title: in tables; "" for the name of the data.
        kind: ``asr``, ``translation``, ``captioning``, ``question_answering`` or ``multiple_choice``.
        metrics: keys of `hf_tokcomp.evaluation.metrics`, the one that tables show first.
        prompts: what to ask, by ``config.model_type``, "" for all others. ``{question}`` and ``{options}`` stand for
            those of the item.
        max_new_tokens: of an answer; None for the model's own limit, or 128.
        sources: known data sets on the Hub, each with its configuration (None for the only one) and split; the first
            is the default.
        split: of any other data set.
        columns: names that benchmark's columns may have, by role (``audio``, ``text``, ``question``, ``choices``,
            ``subset``, ``id``, ``recordings``); of audio and texts, before the usual ones. Several names joined by
            ``+`` hold a text each.
        merge: makes the items of the rows that were read; None for one item per row.
        subsets: the parts that are scored apart, and the only ones then; () for all in one.
        metric_options: further arguments of a metric, by its key.
        make: makes the rows from a folder that is no table but the corpus itself, given the folder, a split (or None),
            a count and a seed; None where it is not laid out so.
        variable: an environment variable that names the folder where nothing else does; "" for none.
        note: what a table must say of the numbers.
        own: for recordings of one's own: what is asked is the row's own prompt or question, where it has one.

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
    variable: str = ""
    note: str = ""
    own: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", kind_named(self.kind))

    def template(self, model_type: str, name: str = "", stored: StoredPrompt | None = None) -> str:
        """What is asked of a model.

        Args:
            model_type: its ``config.model_type``.
            name: what it was loaded from, a Hub id or a folder.
            stored: the prompt that came with it, which counts where it is of this kind of task and items have no
                question of their own.
        """
        own = self.prompts.get(model_type, self.prompts[""])
        if stored is not None and self._fits(stored, own):
            return stored.text
        return COMPLETED.get(re.split(r"[/\\]", name.rstrip("/\\"))[-1], "{prompt}").replace("{prompt}", own)

    def _fits(self, stored: StoredPrompt, own: str) -> bool:
        task = ALIASES.get(stored.task or "", stored.task)
        if "{" in own:  # a question that only the rows know, unless the model was trained on one for all
            return self.own and task == self.kind
        return task in (None, self.kind)

    def prompt(self, template: str, item: Item) -> str:
        """What the model is asked about an item.

        Args:
            template: the task's, or one's own, with ``{question}`` and ``{options}`` where the item's belong.
            item: the item.
        """
        if self.own and item.question:
            listed = template == self.prompts[""] and _lists(item.question, item.choices)
            if listed or "{question}" not in template:
                return item.question
        options = "\n".join(f"({letter(place)}) {choice}" for place, choice in enumerate(item.choices))
        # Not str.format: questions and whole prompts have braces and markers of their own.
        return template.replace("{options}", options).replace("{question}", item.question)


def _lists(question: str, choices: Sequence[str]) -> bool:
    """Whether a question has its options already, each at the end of a line below the first."""
    lines = question.splitlines()[1:]
    return bool(choices) and all(any(line.rstrip().endswith(choice) for line in lines) for choice in choices)


def letter(place: int) -> str:
    """A, B, ... Z, AA, AB, ... for the options of a question."""
    rest, last = divmod(place, 26)
    return (letter(rest - 1) if rest else "") + chr(ord("A") + last)
