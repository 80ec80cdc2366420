"""ask: what a patched model answers to a batch of prompts, and from how many audio tokens; all asking is done here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..config.config import CompressionConfig
from ..config.registry import get_method
from ..models.instance import active_config, patch_of, text_writer, unwrap
from ..models.registry import patch_for_processor
from .prompts import Prompts, model_inputs
from .timing import Clock

LONGEST_ANSWER = 128
"""Tokens of an answer where neither the user nor the model sets a limit."""
GREEDY: dict[str, Any] = {"do_sample": False, "num_beams": 1}
"""How answers are generated unless options say otherwise."""


@dataclass(frozen=True)
class Answer:
    """The answer to one prompt, and what it cost.

    Args:
        text: what was written, without special tokens.
        tokens_before: audio tokens of the prompt before compression.
        tokens_after: audio tokens that were kept.
        tokens_asked: audio tokens that the budget asked for, of which a method may keep fewer; None without a budget.
        finished: whether the answer came to its own end, and was not cut off at the greatest length.
        tokens_read: tokens of the prompt that the language model read, audio and text.
        tokens_written: tokens of the answer.
    """

    text: str
    tokens_before: int
    tokens_after: int
    tokens_asked: int | None = None
    finished: bool = True
    tokens_read: int = 0
    tokens_written: int = 0

    @property
    def counts(self) -> str:
        """The counts as tables show them: ``37 -> 10, asked for 19``."""
        asked = "" if self.tokens_asked is None else f", asked for {self.tokens_asked}"
        return f"{self.tokens_before} -> {self.tokens_after}{asked}"


@dataclass(frozen=True)
class Prepared:
    """Prompts as the model takes them, made once and asked under any number of compressions.

    Args:
        inputs: what the processor made of them, on the model's device.
        audios: how many recordings each prompt has.
        seconds: what preparing them took.
    """

    inputs: Any
    audios: list[int]
    seconds: float = 0.0


def prepare(model: Any, processor: Any, prompts: Prompts) -> Prepared:
    """Prompts and recordings as the model takes them, on its device.

    Args:
        model: a supported model.
        processor: its own processor, not patched: the model shortens prompts as each compression wants.
        prompts: whole prompts and their recordings.
    """
    begin = time.perf_counter()
    rate = patch_for_processor(processor)[1].sampling_rate(processor)
    inputs = model_inputs(processor, prompts.texts, prompts.samples, rate)
    inner = unwrap(model)
    inputs = inputs.to(inner.device, dtype=inner.dtype)
    return Prepared(inputs, prompts.audios_per_row, time.perf_counter() - begin)


def ask(
    model: Any,
    processor: Any,
    prepared: Prepared,
    max_new_tokens: int | None = None,
    *,
    clock: Clock | None = None,
    strip: bool = True,
    **options: Any,
) -> list[Answer]:
    """The answers to a batch, by greedy generation unless options say otherwise.

    What else the checkpoint's generation config asks for (a repetition penalty, say) stays.

    Args:
        model: a patched model, also inside PEFT, with the compression that is to be used.
        processor: its processor.
        prepared: the prompts.
        max_new_tokens: the longest answer; None for the model's own limit, or 128.
        clock: told when generation begins, when the first token is there, and when it ends.
        strip: whether white space around an answer is removed.
        options: further ones of ``generate``.

    Raises:
        what generating raises: no answer is ever left empty instead.
    """
    inner, inputs, writer = unwrap(model), prepared.inputs, text_writer(model)
    most = max_new_tokens or longest_answer(model)
    given: dict[str, Any] = GREEDY | {"max_new_tokens": most} | options
    if clock is not None:
        given["logits_processor"] = [*given.get("logits_processor", ()), clock.first_token]
        clock.begin(inner.device)
    with torch.inference_mode():
        ids = writer.generate(**inputs, **given)
    if clock is not None:
        clock.end(inner.device)
    new = ids[:, inputs["input_ids"].shape[1] :]
    tokenizer = processor.tokenizer
    texts = tokenizer.batch_decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    ends = torch.tensor(_ends(writer), device=new.device, dtype=new.dtype)
    finished = torch.isin(new, ends).any(1) | (new.shape[1] < given["max_new_tokens"])
    read = inputs["attention_mask"].sum(1).tolist()
    written = (new != tokenizer.pad_token_id).sum(1).tolist()
    answers = []
    columns = (texts, token_counts(inner, prepared.audios), finished.tolist(), read, written)
    for text, (before, after, asked), end, whole, count in zip(*columns, strict=True):
        shown = text.strip() if strip else text
        answers.append(Answer(shown, before, after, asked, bool(end), int(whole) - before + after, int(count)))
    return answers


def token_counts(model: Any, audios: Sequence[int]) -> Iterator[tuple[int, int, int | None]]:
    """Per prompt of the model's last call: audio tokens before and after compression, and those asked for.

    Args:
        model: a patched model, unwrapped.
        audios: how many recordings each prompt has.
    """
    record, config = model.audio_compressor.last, active_config(model)
    rate = patch_of(model).frame_rate
    before, after = iter(record.tokens_before), iter(record.tokens_after)
    for count in audios:
        all_tokens = [int(next(before)) for _ in range(count)]
        budgets = [None if config is None else config.budget_length(tokens, rate) for tokens in all_tokens]
        known = [budget for budget in budgets if budget is not None]
        asked = sum(known) if len(known) == count else None
        yield sum(all_tokens), sum(int(next(after)) for _ in range(count)), asked


def longest_answer(model: Any) -> int:
    """The model's own limit for an answer, in tokens, or `LONGEST_ANSWER`."""
    return int(unwrap(text_writer(model)).generation_config.max_new_tokens or LONGEST_ANSWER)


def untrained(model: Any, config: CompressionConfig) -> str | None:
    """What to say of a compression that learns and for which the model has no trained weights; None of any other.

    Args:
        model: with the compression that it was loaded with, whose weights may be those that are needed.
        config: the compression that is to be used.
    """
    trained = active_config(model)
    if not get_method(config.method).learns or (trained is not None and trained.has_weights_of(config)):
        return None
    return (
        f"{config.method} has weights to learn, and this model brings none, so they would be newly initialized: "
        "fine-tune it first, and name the adapter's folder as the model."
    )


def check_trained(model: Any, configs: Sequence[CompressionConfig]) -> None:
    """Refuse compressions that learn and have learned nothing, whose numbers would be those of random weights.

    Args:
        model: with the compression that it was loaded with.
        configs: the compressions that are to be measured.

    Raises:
        ValueError: there is one among them.
    """
    for config in configs:
        said = untrained(model, config)
        if said is not None:
            raise ValueError(said)


def _ends(model: Any) -> list[int]:
    end = unwrap(model).generation_config.eos_token_id
    return [] if end is None else list(end) if isinstance(end, list | tuple) else [end]
