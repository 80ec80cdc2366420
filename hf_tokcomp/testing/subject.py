"""Subject: a model type under test, given by a tiny model, its processor and a function that makes batches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config.config import LongAudio
from ..models.announced import PLACEHOLDERS, WINDOWS
from ..models.base import ModelPatch
from ..models.instance import active_config
from ..models.registry import patch_for_class

RATE = 16000
"""Samples per second."""
Seconds = Sequence[Sequence[float]]
"""Lengths in seconds of every recording of every prompt in a batch."""


class ConformanceError(AssertionError):
    """A model does not behave correctly when patched."""


class NotApplicable(Exception):
    """A check does not apply to a model; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A model type under test.

    Args:
        make_model: makes a tiny model with random weights in evaluation mode, the same at every call. Its weights
            should be large enough for the audio to determine its answers, and it should never generate a placeholder.
        make_processor: makes its processor. One that is patched to keep all tokens of windows
            (``long_audio="windows"``) has such audios checked, too.
        make_inputs: makes a batch from ``(processor, seconds)``, padded on the left, with a prompt for each entry of
            ``seconds``, which lists the lengths of the prompt's recordings: ``[[0.9], [0.4, 0.7]]``. The prompts' texts
            must differ in length, and there must be a mark or a word between two audios.
        window: length in seconds of a full encoder window, or of its attention block. Short ones make fast checks.
        tolerance: maximum difference between logits and the oracle's.
    """

    make_model: Callable[[], Any]
    make_processor: Callable[[], Any]
    make_inputs: Callable[[Any, Seconds], Any]
    window: float = 1.0
    tolerance: float = 2e-4

    @cached_property
    def _made(self) -> Any:
        return self.make_model()

    @cached_property
    def _processor(self) -> Any:
        return self.make_processor()

    @cached_property
    def patch(self) -> ModelPatch:
        """The model's patch."""
        return patch_for_class(type(self._made))[1]

    def model(self) -> Any:
        """A fresh copy of the unpatched model."""
        return copy.deepcopy(self._made)

    @property
    def long_audio(self) -> LongAudio:
        """How the processor reads long audio."""
        config = active_config(self._processor)
        return "cut" if config is None else config.long_audio

    def upstream(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A batch without what only a patched model understands."""
        return {name: value for name, value in inputs.items() if name not in (WINDOWS, PLACEHOLDERS)}

    def inputs(self, seconds: Seconds, processor: Any = None) -> dict[str, Any]:
        """Make a batch."""
        return dict(self.make_inputs(self._processor if processor is None else processor, seconds))

    @property
    def layouts(self) -> dict[str, Seconds]:
        """Batches of every kind that the model accepts, named after what is special about them."""
        w, patch = self.window, self.patch
        spans = patch.audio_spans_windows or self.long_audio == "windows"
        found: dict[str, Seconds] = {
            "ragged": [[0.9 * w], [0.43 * w], [0.61 * w]],
            "a full window beside others": [[w], [0.5 * w], [w]],
        }
        if spans:
            found["several windows"] = [[2.63 * w], [0.5 * w], [w]]
            found["several full windows"] = [[2 * w], [w]]
        if patch.several_audios:
            found["several audios"] = [[0.9 * w, 0.4 * w], [0.5 * w]]
        if patch.several_audios and spans:
            found["several audios of several windows"] = [[1.5 * w, w], [0.7 * w, 2 * w]]
        return found

    @property
    def plain(self) -> Seconds:
        """The batch that exercises what is special about the model."""
        return list(self.layouts.values())[-1]

    def audio_runs(self, inputs: dict[str, Any]) -> list[list[tuple[int, int]]]:
        """First column and one past the last of each audio's placeholders, for each row."""
        token = self.patch.audio_token_id(self.patch.inner(self._made))
        found = []
        for row in inputs["input_ids"].tolist():
            edges = [i for i in range(len(row) + 1) if (row[i - 1 : i] == [token]) != (row[i : i + 1] == [token])]
            found.append(list(zip(edges[::2], edges[1::2], strict=True)))
        return found

    def close(self, what: str, found: Tensor, wanted: Tensor, tolerance: float | None = None) -> None:
        """Raise unless two tensors are nearly equal.

        Raises:
            ConformanceError: they are not.
        """
        limit = self.tolerance if tolerance is None else tolerance
        if found.shape != wanted.shape:
            raise ConformanceError(f"{what}: the shape is {tuple(found.shape)}, and should be {tuple(wanted.shape)}.")
        off = (found - wanted).abs().max().item() if found.numel() else 0.0
        scale = max(1.0, wanted.abs().max().item() if wanted.numel() else 0.0)
        if not off <= limit * scale:
            raise ConformanceError(f"{what}: off by {off:.2g}, where values go up to {scale:.2g}.")


def same(what: str, found: Any, wanted: Any) -> None:
    """Raise unless two values are exactly equal.

    Raises:
        ConformanceError: they are not.
    """
    equal = torch.equal(found, wanted) if isinstance(found, Tensor) else found == wanted
    if not equal:
        raise ConformanceError(f"{what}: is {found}, and should be {wanted}.")


def sound(seconds: float, seed: int) -> np.ndarray[Any, Any]:
    """A chirp with noise, ``(samples,)`` float32; no two parts of it are alike."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * (200 + 300 * seed + 900 * time) * time)
    return (0.4 * tone + 0.1 * generator.standard_normal(time.size)).astype(np.float32)


def by_text(
    prompt: Callable[[int, str], str], words: Sequence[str], **options: Any
) -> Callable[[Any, Seconds], dict[str, Any]]:
    """A `Subject.make_inputs` for a processor that takes texts with one placeholder per recording.

    Args:
        prompt: makes a prompt's text from ``(recordings, words)``.
        words: words the tokenizer knows; successive prompts use more of them.
        options: keywords for the processor.
    """

    def make(processor: Any, seconds: Seconds) -> dict[str, Any]:
        texts = [prompt(len(own), " ".join(words[: 2 + 2 * (i % 3)])) for i, own in enumerate(seconds)]
        recordings = [length for own in seconds for length in own]
        audio = [sound(length, seed) for seed, length in enumerate(recordings)]
        given = {"text_kwargs": {"padding": True, "padding_side": "left"}} | options
        return dict(processor(text=texts, audio=audio, sampling_rate=RATE, return_tensors="pt", **given))

    return make
