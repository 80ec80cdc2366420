"""What a model answers about recordings, by greedy generation, in batches and over processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets.utils import tqdm
from torch.utils.data import IterableDataset

from ..models.instance import text_writer, unwrap
from .collator import AudioTextCollator
from .processes import process
from .prompts import model_inputs

SORTED_TOGETHER = 16
"""Batches' worth of rows that are sorted by length together: padding is waste, and so is reading all audio first."""


@dataclass(frozen=True)
class Answer:
    """What was answered about one row, from how many audio tokens before and after compression."""

    text: str
    tokens_before: int
    tokens_after: int


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
        texts = [text for place in batch for text in prompts[place].texts]
        samples = [each for place in batch for each in prompts[place].samples]
        inputs = model_inputs(collator.processor, texts, samples, collator.rate)
        inner = unwrap(model)
        inputs = inputs.to(inner.device, dtype=inner.dtype)
        answers = [text for text, _ in generate(model, collator, inputs, max_new_tokens, **options)]
        counts = [prompts[place].audios_per_row[0] for place in batch]
        found |= zip(batch, _with_counts(model, answers, counts), strict=True)
    return [found[place] for place in range(len(rows))]


def generate(
    model: Any, collator: AudioTextCollator, inputs: Any, max_new_tokens: int, **options: Any
) -> list[tuple[str, bool]]:
    """The texts of a batch that is on the model's device, and whether each came to its own end.

    Greedily generated unless options say otherwise; what else the checkpoint's generation config asks for stays.
    """
    with torch.inference_mode():
        ids = text_writer(model).generate(
            **inputs, **({"do_sample": False, "num_beams": 1, "max_new_tokens": max_new_tokens} | options)
        )
    new = ids[:, inputs["input_ids"].shape[1] :]
    texts = collator.processor.tokenizer.batch_decode(new, skip_special_tokens=True)
    ends = torch.tensor(_ends(model), device=new.device, dtype=new.dtype)
    finished = torch.isin(new, ends).any(1) | (new.shape[1] < max_new_tokens)
    return [(text.strip(), end) for text, end in zip(texts, finished.tolist(), strict=True)]


def _ends(model: Any) -> list[int]:
    end = unwrap(text_writer(model)).generation_config.eos_token_id
    return [] if end is None else list(end) if isinstance(end, list | tuple) else [end]


def _with_counts(model: Any, texts: list[str], audios: list[int]) -> list[Answer]:
    """The answers with the token counts of each row's audios, of which a row may have several."""
    record = unwrap(model).audio_compressor.last
    before, after = iter(record.tokens_before), iter(record.tokens_after)
    return [
        Answer(text, sum(next(before) for _ in range(count)), sum(next(after) for _ in range(count)))
        for text, count in zip(texts, audios, strict=True)
    ]
