"""Spoken answers: `Voice`, how to speak; `Sound`, what was said; and `speak`, which `ask` calls."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor
from transformers import LogitsProcessor

from ..audio.loading import Samples
from ..errors import UnsupportedModelError
from ..hub.whole_files import whole_file
from ..messages import did_you_mean
from ..models.instance import patch_of, text_writer
from ..models.registry import find_patch, patch_for_class, supported_models


@dataclass(frozen=True)
class Voice:
    """How answers are spoken.

    Args:
        speaker: name of the voice; None for the model's default.
        max_new_tokens: most tokens of speech in an answer, which are the model's own (50 per second for Qwen2.5-Omni);
            None for the model's limit.
        seed: models draw the tokens of their speech, and their vocoder begins with noise. Both are drawn anew from this
            seed for every batch, so that the same batch is spoken in the same way.
    """

    speaker: str | None = None
    max_new_tokens: int | None = None
    seed: int = 0

    def keywords(self) -> dict[str, Any]:
        """The keywords for `ModelPatch.speak`, without those that are left to the model."""
        named = {"speaker": self.speaker, "talker_max_new_tokens": self.max_new_tokens}
        # Upstream's vocoder fails where the talker ends at once.
        return {"talker_min_new_tokens": 1} | {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Sound:
    """A spoken answer.

    Args:
        samples: ``(samples,)`` float32, mono; none if there was nothing to say.
        rate: samples per second.
    """

    samples: Samples
    rate: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / self.rate

    def write(self, file: str | os.PathLike[str]) -> Path:
        """Write a WAV file of 16-bit samples and return its path; louder samples are clipped.

        Raises:
            OSError: it cannot be written; what was there before stays, and no partial file is left.
        """
        with whole_file(file) as part, part.open("wb") as stream:
            soundfile.write(stream, self.samples, self.rate, format="WAV", subtype="PCM_16")
        return Path(file)


def check_speaks(config: Any, name: str) -> None:
    """Raise unless a model speaks.

    Args:
        config: the model's config.
        name: what it is called in the message.

    Raises:
        UnsupportedModelError: it does not; the message names the models that do.
    """
    model_type = getattr(config, "model_type", None)
    patch = find_patch(model_type)
    if patch is not None and patch.speaks(config):
        return
    if patch is not None and patch.speech_rate is not None:
        raise UnsupportedModelError(
            f"{name} has its voice switched off (enable_audio_output is false in its config.json): name a checkpoint "
            "that has one."
        )
    speaking = [
        f"{known} ({each.model_classes[0]})"
        for known, each in supported_models().items()
        if each.speech_rate is not None
    ]
    raise UnsupportedModelError(
        f"{name} is a model of type {model_type!r}, which writes and does not speak. Models that speak: "
        f"{', '.join(speaking)}."
    )


def known_speaker(model: Any, speaker: str | None) -> str | None:
    """The name of a loaded model's voice as the model spells it; None for the default voice.

    Args:
        model: a supported model, unwrapped.
        speaker: the name, in upper or lower case.

    Raises:
        ValueError: it has none; the message names those it has.
    """
    known = patch_for_class(type(model))[1].speakers(model)
    if speaker is None or speaker in known or not known:
        return speaker
    for name in known:
        if name.lower() == speaker.lower():
            return name
    raise ValueError(
        f"There is no speaker {speaker!r}{did_you_mean(speaker, known)} There are {', '.join(sorted(known))}."
    )


def speak(
    model: Any, inputs: Mapping[str, Any], writing: Mapping[str, Any], voice: Voice
) -> tuple[Tensor, list[Sound]]:
    """Generate the text of a batch and speak it.

    Args:
        model: a patched model that speaks, unwrapped.
        inputs: the processor's output.
        writing: keywords of the ``generate`` that writes the text.
        voice: how to speak.

    Returns:
        The ids ``(batch, prompt + answer)``, as without speech, and what is said in each row.

    Raises:
        UnsupportedModelError: the model does not speak.
        ValueError: there is no such speaker.
        RuntimeError: the speech is not finite.
    """
    check_speaks(model.config, type(model).__name__)
    voice = replace(voice, speaker=known_speaker(model, voice.speaker))
    patch, steps = patch_of(model), _Steps()
    watched = {**writing, "logits_processor": [*writing.get("logits_processor", ()), steps]}
    with _drawing_from(model, voice.seed):
        try:
            ids, waves = patch.speak(model, inputs, watched, voice.keywords())
        except (RuntimeError, ValueError):
            if steps.count != 1:
                raise
            # Where all answers end with their first token, upstream has nothing to hand to the talker, and fails.
            ids, waves = text_writer(model).generate(**inputs, **writing), []
            if ids.shape[1] != inputs["input_ids"].shape[1] + 1:
                raise
    rate = int(patch.speech_rate or 0)
    nothing = torch.zeros(0)
    sounds = [Sound(wave.float().cpu().numpy(), rate) for wave in waves or [nothing] * len(ids)]
    if not all(torch.from_numpy(sound.samples).isfinite().all() for sound in sounds):
        raise RuntimeError("The speech has samples that are NaN or infinite; try another precision, such as float32.")
    return ids, sounds


class _Steps(LogitsProcessor):  # type: ignore[misc]
    """Counts the tokens of the text."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.count += 1
        return scores


@contextlib.contextmanager
def _drawing_from(model: Any, seed: int) -> Iterator[None]:
    """Within the ``with`` block, random numbers come from this seed; afterwards, they go on as before."""
    devices = {parameter.device for parameter in model.parameters()}
    indices = sorted({device.index or 0 for device in devices if device.type == "cuda"})
    with torch.random.fork_rng(devices=indices):
        torch.manual_seed(seed)
        yield
