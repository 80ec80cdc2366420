"""`AudioTextCollator`: turns rows of audio and text into training batches, with labels on the answer only."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import torch

from ..audio.loading import Samples, load_audio
from ..errors import UnsupportedModelError
from ..models.registry import patch_for_processor
from ..patching.long_audio import longest_read
from ..patching.windows import advice
from .prompts import Prompts, model_inputs, whole_answer, whole_prompt

IGNORED = -100
"""Label of tokens that are excluded from the loss."""


class AudioTextCollator:
    """Builds batches from rows ``{"audio", "text", "prompt"}``: ``input_ids``, masks, audio features and ``labels``.

    The prompt goes through the processor's chat template, if there is one, and is followed by the answer and its end
    marker; only these have labels. Padding is on the right. The answer is tokenized separately from the prompt, as it
    will be when the model generates it.

    Args:
        processor: the model's processor. If the model is patched with ``long_audio="windows"``, patch it, too; it then
            reads recordings of any length.
        prompt: the instruction for rows without one. If it contains the audio placeholder, it is the complete prompt.
        long_audio: how to handle a recording that is longer than the model's limit: ``"error"``, or ``"cut"``, which is
            meant for text that does not follow the audio over time (a caption, the answer to a question).
    """

    def __init__(self, processor: Any, prompt: str | None = None, long_audio: str = "error") -> None:
        if long_audio not in ("error", "cut"):
            raise ValueError(f"long_audio must be 'error' or 'cut', not {long_audio!r}.")
        self.processor = processor
        self.prompt = prompt
        self.long_audio = long_audio
        self.patch = patch_for_processor(processor)[1]
        self.rate = self.patch.sampling_rate(processor)
        self.longest = longest_read(self.patch, processor)

    def with_processor(self, processor: Any) -> AudioTextCollator:
        """The same collator with another processor."""
        return self if processor is self.processor else AudioTextCollator(processor, self.prompt, self.long_audio)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Build a batch.

        Args:
            rows: each with ``audio`` in any form that `load_audio` takes (a list if the prompt has several recordings),
                ``text``, the answer, and optionally ``prompt``.

        Raises:
            FileNotFoundError: a recording does not exist.
            UnsupportedModelError: the model reads no prompt.
            ValueError: a recording is missing, broken or too long, an answer is empty, or a prompt is missing.
        """
        if not self.patch.reads_prompts:
            raise UnsupportedModelError(
                f"Labels are made here for models that read audio in a prompt, which {self.patch.model_type!r} does "
                "not: train it with transformers' Seq2SeqTrainer, as docs/models.md shows."
            )
        prompts = self.prompts(rows)
        answers = []
        for row, audios in zip(rows, prompts.audios_per_row, strict=True):
            answers.append(self._answer_ids(row, audios))
        inputs = dict(model_inputs(self.processor, prompts.texts, prompts.samples, self.rate, "right"))
        return inputs | self._followed(inputs["input_ids"], inputs["attention_mask"], answers)

    def prompts(self, rows: Sequence[Mapping[str, Any]]) -> Prompts:
        """The prompts and recordings of the rows, in the form the processor takes."""
        texts, samples, counts = [], [], []
        for row in rows:
            own = [self._samples(source) for source in _sources(row)]
            texts.append(whole_prompt(self.processor, self.patch, self._instruction(row), len(own)))
            samples += own
            counts.append(len(own))
        return Prompts(texts, samples, counts)

    def _instruction(self, row: Mapping[str, Any]) -> str:
        instruction = row.get("prompt") or self.prompt
        if not self.patch.reads_prompts:
            return instruction or ""
        if not instruction:
            raise ValueError("A row has no prompt, and the collator was given none, as prompt=...")
        return str(instruction)

    def _samples(self, source: Any) -> Samples:
        samples = load_audio(source, self.rate)
        seconds = len(samples) / self.rate
        if seconds > self.longest and self.long_audio == "error":
            name = source.get("path") if isinstance(source, Mapping) else source
            name = os.fspath(name) if isinstance(name, str | os.PathLike) else None
            limit = f"the model was made for at most {self.longest:g} s"
            if self.patch.cuts_longer:
                limit = f"the model reads {self.longest:g} s: the rest of its text could only be guessed"
            raise ValueError(
                f"{name or 'A recording'} has {seconds:.1f} s, and {limit}. Cut it up, leave it out, or set "
                f"long_audio='cut'.{advice(self.patch)}"
            )
        return samples if math.isinf(self.longest) else samples[: int(self.longest * self.rate)]

    def answer_text(self, row: Mapping[str, Any]) -> str:
        """The expected answer of a row.

        Raises:
            ValueError: the row has no text.
        """
        text = row.get("text")
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"A row's text must be a string that is not empty; it is {text!r}.")
        return text

    def _answer_ids(self, row: Mapping[str, Any], audios: int) -> list[int]:
        text = self.answer_text(row)
        if self.processor.audio_token in text:
            raise ValueError(f"A row's text has the audio placeholder {self.processor.audio_token} in it: {text!r}.")
        answer = whole_answer(self.processor, self.patch, self._instruction(row), text.strip(), audios)
        tokenizer = self.processor.tokenizer
        end = tokenizer.eos_token or ""
        whole = bool(end) and answer.endswith(end)  # as an id: mistral-common's tokenizer takes marks in text for text
        ids = tokenizer(answer.removesuffix(end) if whole else answer, add_special_tokens=False)["input_ids"]
        return [*ids, tokenizer.eos_token_id] if whole else list(ids)

    def _followed(
        self, input_ids: torch.Tensor, mask: torch.Tensor, answers: Sequence[Sequence[int]]
    ) -> dict[str, torch.Tensor]:
        """Append the answers to prompts ``(batch, prompt)``: ids, mask and labels ``(batch, prompt + answer)``."""
        prompts = [ids[valid.bool()].tolist() for ids, valid in zip(input_ids, mask, strict=True)]
        width = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
        pad = self.processor.tokenizer.pad_token_id
        ids = input_ids.new_full((len(prompts), width), pad if pad is not None else 0)
        labels = torch.full_like(ids, IGNORED)
        attention = mask.new_zeros(ids.shape)
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            end = len(prompt) + len(answer)
            ids[row, :end] = ids.new_tensor([*prompt, *answer])
            labels[row, len(prompt) : end] = ids[row, len(prompt) : end]
            attention[row, :end] = 1
        return {"input_ids": ids, "attention_mask": attention, "labels": labels}


def _sources(row: Mapping[str, Any]) -> list[Any]:
    """The recordings of a row; a list of numbers is a single recording."""
    audio = row.get("audio")
    if audio is None or (isinstance(audio, list | tuple) and not audio):
        raise ValueError(f"A row has no audio; its columns are {', '.join(map(str, row)) or 'none'}.")
    if isinstance(audio, list | tuple) and not isinstance(audio[0], Number | list):
        return list(audio)
    return [audio]
