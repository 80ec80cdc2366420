"""Generate a model's answers for rows of recordings, in length-sorted batches and across processes."""

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
"""Number of batches whose rows are sorted by length together: less padding, without reading all the audio first."""


def answer(
    model: Any,
    collator: AudioTextCollator,
    rows: Iterable[Mapping[str, Any]],
    *,
    batch_size: int = 8,
    max_new_tokens: int = 128,
    **options: Any,
) -> list[Answer]:
    """Answer all rows, in order; under accelerate each process generates a share of the answers.

    Args:
        model: a patched model, possibly wrapped by PEFT.
        collator: builds the prompts; its processor is used.
        rows: in the format the collator takes; ``text`` is not read. Every process reads a streamed dataset once, from
            start to end, and holds in memory only the rows that are answered together.
        batch_size: number of rows per call of ``generate``.
        max_new_tokens: maximum length of an answer.
        options: further options for `ask`: ``voice``, to speak the answers, too, and those of ``generate``; decoding is
            greedy unless they say otherwise.

    Raises:
        whatever reading the audio or generating raises: a failure never yields an empty answer.
    """
    return [given for given, _ in _answers(model, collator, rows, False, batch_size, max_new_tokens, options)]


def answer_beside_truth(
    model: Any, collator: AudioTextCollator, rows: Iterable[Mapping[str, Any]], batch_size: int, max_new_tokens: int
) -> tuple[list[Answer], list[str]]:
    """Return the answers, as `answer` does, and each row's ``text``, reading the rows only once.

    Raises:
        ValueError: a row has no text.
    """
    pairs = _answers(model, collator, rows, True, batch_size, max_new_tokens, {})
    return [given for given, _ in pairs], [text for _, text in pairs]


def is_streamed(rows: Any) -> bool:
    """Whether rows can only be read sequentially, like those of a streamed dataset."""
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
    """This process's rows with their indices, and the number of rows if it is known before reading them."""
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
    """The answers in row order; rows of similar length are generated together."""
    prompts = [collator.prompts([row]) for row in rows]
    order = sorted(range(len(rows)), key=lambda place: sum(len(samples) for samples in prompts[place].samples))
    found: dict[int, Answer] = {}
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        prepared = prepare(model, collator.processor, Prompts.joined(prompts[place] for place in batch))
        found |= zip(batch, ask(model, collator.processor, prepared, max_new_tokens, **options), strict=True)
    return [found[place] for place in range(len(rows))]
