"""What a model answers about rows of recordings, in batches of like length and over processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from accelerate.utils import gather_object
from datasets.utils import tqdm
from torch.utils.data import IterableDataset

from .asking import Answer, ask, prepare
from .collator import AudioTextCollator
from .processes import process
from .prompts import Prompts

SORTED_TOGETHER = 16
"""Batches' worth of rows that are sorted by length together: padding is waste, and so is reading all audio first."""


def answer(
    model: Any,
    collator: AudioTextCollator,
    rows: Iterable[Mapping[str, Any]],
    *,
    batch_size: int = 8,
    max_new_tokens: int = 128,
    **options: Any,
) -> list[Answer]:
    """The model's answers about all rows, in their order; under accelerate every process generates a share of them.

    Args:
        model: a patched model, also inside PEFT.
        collator: makes the prompts; the processor is its.
        rows: as the collator takes them; ``text`` is not read. A streamed data set is read once, from its beginning to
            its end, by every process; so much of it is in memory as is answered together.
        batch_size: rows generated together.
        max_new_tokens: the longest answer.
        options: more of ``generate``; it is greedy unless they say otherwise.

    Raises:
        what reading the audio or generating raises: no answer is ever left empty instead.
    """
    return [given for given, _ in _answers(model, collator, rows, False, batch_size, max_new_tokens, options)]


def answer_beside_truth(
    model: Any, collator: AudioTextCollator, rows: Iterable[Mapping[str, Any]], batch_size: int, max_new_tokens: int
) -> tuple[list[Answer], list[str]]:
    """The answers as `answer` gives them, and each row's ``text``, both from reading the rows once.

    Raises:
        ValueError: a row has no text.
    """
    pairs = _answers(model, collator, rows, True, batch_size, max_new_tokens, {})
    return [given for given, _ in pairs], [text for _, text in pairs]


def is_streamed(rows: Any) -> bool:
    """Whether rows can only be read one after the other, as those of a streamed data set."""
    return isinstance(rows, IterableDataset) or not (hasattr(rows, "__len__") and hasattr(rows, "__getitem__"))


def _answers(
    model: Any,
    collator: AudioTextCollator,
    rows: Any,
    with_truth: bool,
    batch_size: int,
    max_new_tokens: int,
    options: dict[str, Any],
) -> list[tuple[Answer, str]]:
    state = process()
    found: list[tuple[int, tuple[Answer, str]]] = []
    training = model.training
    model.eval()
    try:
        share, number = _share(rows)
        mine = iter(tqdm(share, desc="Answering", total=number, disable=None if state.is_main_process else True))
        while chunk := dict(islice(mine, batch_size * SORTED_TOGETHER)):
            truths = [collator.answer_text(row) if with_truth else "" for row in chunk.values()]
            given = _answer_sorted(model, collator, list(chunk.values()), batch_size, max_new_tokens, options)
            found += zip(chunk, zip(given, truths, strict=True), strict=True)
    finally:
        model.train(training)
    if state.num_processes > 1:
        found = gather_object(found)
    return [pair for _, pair in sorted(found, key=lambda numbered: numbered[0])]


def _share(rows: Any) -> tuple[Iterator[tuple[int, Any]], int | None]:
    """This process's rows with their numbers, and how many they are, if that is known before they are read."""
    state = process()
    if is_streamed(rows):
        return islice(enumerate(rows), state.process_index, None, state.num_processes), None
    numbers = range(state.process_index, len(rows), state.num_processes)
    return ((number, rows[number]) for number in numbers), len(numbers)


def _answer_sorted(
    model: Any,
    collator: AudioTextCollator,
    rows: Sequence[Mapping[str, Any]],
    batch_size: int,
    max_new_tokens: int,
    options: dict[str, Any],
) -> list[Answer]:
    """The answers in the rows' order; those of like length are generated together."""
    prompts = [collator.prompts([row]) for row in rows]
    order = sorted(range(len(rows)), key=lambda place: sum(len(samples) for samples in prompts[place].samples))
    found: dict[int, Answer] = {}
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        prepared = prepare(model, collator.processor, Prompts.joined(prompts[place] for place in batch))
        found |= zip(batch, ask(model, collator.processor, prepared, max_new_tokens, **options), strict=True)
    return [found[place] for place in range(len(rows))]
