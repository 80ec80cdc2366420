"""What a model answers about recordings, by greedy generation, in batches and over processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets.utils import tqdm

from ..instruction import model_inputs
from ..patching import _inner
from ..processes import process
from .collator import AudioTextCollator

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
    rows: Sequence[Mapping[str, Any]],
    *,
    batch_size: int = 8,
    max_new_tokens: int = 128,
    **options: Any,
) -> list[Answer]:
    """The model's answers about all rows, in their order; under accelerate every process generates a share of them.

    Args:
        model: a patched model, also inside PEFT.
        collator: makes the prompts; the processor is its.
        rows: as the collator takes them; ``text`` is not read.
        batch_size: rows generated together.
        max_new_tokens: the longest answer.
        options: more of ``generate``; it is greedy unless they say otherwise.

    Raises:
        what reading the audio or generating raises: no answer is ever left empty instead.
    """
    state = process()
    mine = range(state.process_index, len(rows), state.num_processes)
    found: list[tuple[int, Answer]] = []
    chunk = batch_size * SORTED_TOGETHER
    training = model.training
    model.eval()
    try:
        for start in tqdm(
            range(0, len(mine), chunk), desc="Answering", disable=None if state.is_main_process else True
        ):
            found += _answer_sorted(
                model, collator, rows, mine[start : start + chunk], batch_size, max_new_tokens, options
            )
    finally:
        model.train(training)
    if state.num_processes > 1:
        found = gather_object(found)
    return [given for _, given in sorted(found, key=lambda pair: pair[0])]


def _answer_sorted(
    model: Any,
    collator: AudioTextCollator,
    rows: Sequence[Mapping[str, Any]],
    indices: Sequence[int],
    batch_size: int,
    max_new_tokens: int,
    options: dict[str, Any],
) -> list[tuple[int, Answer]]:
    prompts = {index: collator.prompts([rows[index]]) for index in indices}
    order = sorted(indices, key=lambda index: sum(len(samples) for samples in prompts[index].samples))
    found: list[tuple[int, Answer]] = []
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        texts = [text for index in batch for text in prompts[index].texts]
        samples = [each for index in batch for each in prompts[index].samples]
        inputs = model_inputs(collator.processor, texts, samples, collator.rate)
        inner = _inner(model)
        inputs = inputs.to(inner.device, dtype=inner.dtype)
        answers = [text for text, _ in generate(model, collator, inputs, max_new_tokens, **options)]
        counts = [prompts[index].audios_per_row[0] for index in batch]
        found += zip(batch, _with_counts(model, answers, counts), strict=True)
    return found


def generate(
    model: Any, collator: AudioTextCollator, inputs: Any, max_new_tokens: int, **options: Any
) -> list[tuple[str, bool]]:
    """The texts of a batch that is on the model's device, and whether each came to its own end.

    Greedily generated unless options say otherwise; what else the checkpoint's generation config asks for stays.
    """
    with torch.inference_mode():
        ids = model.generate(
            **inputs, **({"do_sample": False, "num_beams": 1, "max_new_tokens": max_new_tokens} | options)
        )
    new = ids[:, inputs["input_ids"].shape[1] :]
    texts = collator.processor.tokenizer.batch_decode(new, skip_special_tokens=True)
    ends = torch.tensor(_ends(model), device=new.device, dtype=new.dtype)
    finished = torch.isin(new, ends).any(1) | (new.shape[1] < max_new_tokens)
    return [(text.strip(), end) for text, end in zip(texts, finished.tolist(), strict=True)]


def _ends(model: Any) -> list[int]:
    end = _inner(model).generation_config.eos_token_id
    return [] if end is None else list(end) if isinstance(end, list | tuple) else [end]


def _with_counts(model: Any, texts: list[str], audios: list[int]) -> list[Answer]:
    """The answers with the token counts of each row's audios, of which a row may have several."""
    record = _inner(model).audio_compressor.last
    before, after = iter(record.tokens_before), iter(record.tokens_after)
    return [
        Answer(text, sum(next(before) for _ in range(count)), sum(next(after) for _ in range(count)))
        for text, count in zip(texts, audios, strict=True)
    ]
