"""`ask`: generate answers to prompts and count their audio tokens; all generation goes through this function."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from ..config.config import CompressionConfig
from ..config.registry import get_method
from ..models.instance import active_config, patch_of, text_writer, unwrap
from ..models.registry import patch_for_processor
from .prompts import Prompts, model_inputs
from .speech import Sound, Voice, speak
from .timing import Clock

LONGEST_ANSWER = 128
"""Maximum answer length in tokens when neither the user nor the model sets a limit."""
GREEDY: dict[str, Any] = {"do_sample": False, "num_beams": 1}
"""Default generation options."""


@dataclass(frozen=True)
class Answer:
    """The answer to one prompt, and what it cost.

    Args:
        text: the generated text, without special tokens.
        tokens_before: audio tokens in the prompt before compression.
        tokens_after: audio tokens that were kept.
        tokens_asked: audio tokens that the budget allows; a method may keep fewer. None without a budget.
        finished: whether the answer ended by itself rather than being cut off at the maximum length.
        tokens_read: prompt tokens that the language model read, audio and text.
        tokens_written: tokens in the answer.
        sound: the spoken answer, if speech was asked for.
        padding: how many of ``tokens_before`` and ``tokens_after`` are padding behind the sound, which no budget
            counts, for a model that reads some.
    """

    text: str
    tokens_before: int
    tokens_after: int
    tokens_asked: int | None = None
    finished: bool = True
    tokens_read: int = 0
    tokens_written: int = 0
    sound: Sound | None = field(default=None, repr=False)
    padding: tuple[int, int] = (0, 0)

    @property
    def counts(self) -> str:
        """The counts as tables show them: ``37 -> 10, asked for 19``."""
        asked = "" if self.tokens_asked is None else f", asked for {self.tokens_asked}"
        return f"{self.tokens_before} -> {self.tokens_after}{asked}"


@dataclass(frozen=True)
class Prepared:
    """Model inputs for a batch of prompts, prepared once and reused under any number of compressions.

    Args:
        inputs: the processor's output, on the model's device.
        audios: number of recordings in each prompt.
        seconds: time taken to prepare the inputs.
    """

    inputs: Any
    audios: list[int]
    seconds: float = 0.0


def prepare(model: Any, processor: Any, prompts: Prompts) -> Prepared:
    """Turn prompts and recordings into model inputs, on the model's device.

    Args:
        model: a supported model.
        processor: its processor, not patched: the model shortens the prompts as each compression requires. For
            compressions with ``long_audio="windows"``, that of `hf_tokcomp.patching.long_audio.processor_for`.
        prompts: complete prompts and their recordings.
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
    voice: Voice | None = None,
    **options: Any,
) -> list[Answer]:
    """Generate the answers to a batch, greedily unless options say otherwise.

    All other settings of the checkpoint's generation config (a repetition penalty, for example) remain in effect.

    Args:
        model: a patched model, possibly wrapped by PEFT, with the compression to use.
        processor: its processor.
        prepared: the prompts.
        max_new_tokens: maximum length of an answer; None for the model's own limit, or 128.
        clock: records when generation begins, when the first token is available, and when generation ends.
        strip: whether to remove whitespace around an answer.
        voice: speak the answers, too; their text is the same. For models that speak, see `check_speaks`.
        options: further options for the ``generate`` that writes the text.

    Raises:
        whatever generating raises: a failure never yields an empty answer.
    """
    inner, inputs, writer = unwrap(model), prepared.inputs, text_writer(model)
    most = max_new_tokens or longest_answer(model)
    given: dict[str, Any] = GREEDY | {"max_new_tokens": most} | options
    if clock is not None:
        given["logits_processor"] = [*given.get("logits_processor", ()), clock.first_token]
        clock.begin(inner.device)
    sounds: Sequence[Sound | None] = [None] * len(prepared.audios)
    with torch.inference_mode():
        if voice is None:
            ids = writer.generate(**inputs, **given)
        else:
            ids, sounds = speak(inner, inputs, given, voice)
    if clock is not None:
        clock.end(inner.device)
    prompted = patch_of(inner).reads_prompts
    new = ids[:, inputs["input_ids"].shape[1] :] if prompted else ids
    tokenizer = processor.tokenizer
    texts = tokenizer.batch_decode(new, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    ends = torch.tensor(_ends(writer), device=new.device, dtype=new.dtype)
    finished = torch.isin(new, ends).any(1) | (new.shape[1] < given["max_new_tokens"])
    # A decoder that attends to the encoder reads what the record says, and no prompt.
    read = inputs["attention_mask"].sum(1).tolist() if prompted else inner.audio_compressor.last.tokens_before
    pad = tokenizer.pad_token_id
    pad = unwrap(writer).generation_config.pad_token_id if pad is None else pad
    written = (new != pad).sum(1).tolist()
    answers = []
    columns = (texts, token_counts(inner, prepared.audios), finished.tolist(), read, written, sounds)
    for text, (before, after, asked, padding), end, whole, count, sound in zip(*columns, strict=True):
        shown, read_by_it = text.strip() if strip else text, int(whole) - before + after
        answers.append(Answer(shown, before, after, asked, bool(end), read_by_it, int(count), sound, padding))
    return answers


class Counts(NamedTuple):
    """The audio tokens of a prompt; see `Answer`."""

    before: int
    after: int
    asked: int | None
    padding: tuple[int, int]


def token_counts(model: Any, audios: Sequence[int]) -> Iterator[Counts]:
    """For each prompt of the model's last call, the audio tokens before and after compression, and the budget.

    Args:
        model: a patched model, unwrapped.
        audios: number of recordings in each prompt.
    """
    record, config = model.audio_compressor.last, active_config(model)
    rate = patch_of(model).frame_rate
    before, after = iter(record.tokens_before), iter(record.tokens_after)
    sound, slots = iter(record.sound_before), iter(record.sound_after)
    for count in audios:
        all_tokens = [int(next(before)) for _ in range(count)]
        left = [int(next(after)) for _ in range(count)]
        heard = [int(next(sound)) for _ in range(count)]
        budgets = [None if config is None else config.budget_length(tokens, rate) for tokens in heard]
        known = [budget for budget in budgets if budget is not None]
        padding = sum(all_tokens) - sum(heard), sum(left) - sum(int(next(slots)) for _ in range(count))
        asked = sum(known) + padding[1] if len(known) == count else None
        yield Counts(sum(all_tokens), sum(left), asked, padding)


def longest_answer(model: Any) -> int:
    """The model's own limit on the answer length, in tokens, or `LONGEST_ANSWER`."""
    return int(unwrap(text_writer(model)).generation_config.max_new_tokens or LONGEST_ANSWER)


def untrained(model: Any, config: CompressionConfig) -> str | None:
    """An error message if a compression has learned weights that the model does not provide; None otherwise.

    Args:
        model: with the compression it was loaded with, whose weights may be the ones needed.
        config: the compression to use.
    """
    trained = active_config(model)
    if not get_method(config.method).learns or (trained is not None and trained.has_weights_of(config)):
        return None
    return (
        f"{config.method} has weights to learn, and this model brings none, so they would be newly initialized: "
        "fine-tune it first, and name the adapter's folder as the model."
    )


def check_trained(model: Any, configs: Sequence[CompressionConfig]) -> None:
    """Reject compressions whose learned weights are untrained, since results would be those of random weights.

    Args:
        model: with the compression it was loaded with.
        configs: the compressions to measure.

    Raises:
        ValueError: one of them is untrained.
    """
    for config in configs:
        said = untrained(model, config)
        if said is not None:
            raise ValueError(said)


def _ends(model: Any) -> list[int]:
    end = unwrap(model).generation_config.eos_token_id
    return [] if end is None else list(end) if isinstance(end, list | tuple) else [end]
