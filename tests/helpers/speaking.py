"""A tiny composite that speaks, with what its tests must know of its talker and its vocoder."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from subjects import subject_of
from torch import Tensor, nn

from hf_tokcomp.testing import Subject

COMPOSITES = ("qwen2_5_omni", "qwen3_omni_moe")
NEW = 5
"""Tokens of an answer."""


class Spoken(NamedTuple):
    """What a composite returned, and what its vocoder was given.

    Args:
        text: ``(batch, prompt + new)``.
        codes: each row's frames of sound, each a code or a list of codes.
        sound: each row's samples.
    """

    text: Tensor
    codes: list[list[Any]]
    sound: list[Tensor]


@dataclass(frozen=True)
class Speaking:
    """A composite under test.

    Args:
        subject: its model, processor and batches.
        prompt: as for `hf_tokcomp.testing.by_text`.
        speech: keywords of `generate` for a short, greedy speech.
        speaker: a voice.
        vocoder: name of the part that gets the codes.
        samples: maps a number of frames to that of samples.
        heard: the module whose output the talker hears.
        told: maps the model, the thinker's embeddings ``(prompt, hidden)``, the output of ``heard`` and which columns
            are audio to what the talker must get in its first columns.
    """

    subject: Subject
    prompt: Callable[[int, str], str]
    speech: dict[str, Any]
    speaker: str
    vocoder: str
    samples: Callable[[int], int]
    heard: Callable[[Any], nn.Module]
    told: Callable[[Any, Tensor, Tensor, Tensor], Tensor]

    def speak(self, model: Any, inputs: dict[str, Any], **options: Any) -> Spoken:
        """Answer a batch in text and speech."""
        codes: list[list[Any]] = []
        handle = getattr(model, self.vocoder).register_forward_pre_hook(lambda _, args: codes.extend(_frames(args[0])))
        torch.manual_seed(0)  # some vocoders begin with noise
        try:
            text, sound = model.generate(**inputs, **TEXT | self.speech | options)
        finally:
            handle.remove()
        return Spoken(text, codes, sound if isinstance(sound, list) else [sound])

    def write(self, model: Any, inputs: dict[str, Any], **options: Any) -> Any:
        """Answer a batch in text."""
        return model.generate(**inputs, **TEXT | options, generation_mode="text")


TEXT = {"thinker_max_new_tokens": NEW, "thinker_do_sample": False}


def speaking(model_type: str) -> Speaking:
    """The composite of this type; skips the test where the installed transformers is too old for it."""
    subject_of(model_type)
    found: Speaking = importlib.import_module(f"subjects.{model_type}").SPEAKING
    return found


def _frames(codes: Tensor) -> list[list[Any]]:
    """Each row's frames of ``(batch, frames)`` or ``(batch, groups, frames)``, which upstream fills up with zeros."""
    rows = [row.movedim(-1, 0).tolist() for row in codes]
    for row in rows:
        while codes.dim() == 3 and row and not any(row[-1]):
            row.pop()
    return rows
