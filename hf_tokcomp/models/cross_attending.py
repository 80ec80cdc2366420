"""CrossAttendingPatch: a model whose decoder attends to the encoder's output, so that no prompt holds the audio.

What stands for the audio is the encoder's output itself. It is compressed where the encoder returns it, and every
cross-attention reads the slots that are left.
"""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModelError
from ..ops.audio_tokens import NEEDS
from .base import GENERATION, ModelPatch
from .windows import AudioInputs, Windows

logger = logging.getLogger(__name__)

_WARNED: WeakSet[Any] = WeakSet()
"""The models that have said that the end of a sound is unknown."""


class CrossAttendingPatch(ModelPatch):
    """Knowledge about an encoder-decoder model that takes features ``(windows, bins, frames)``, a window per audio."""

    reads_prompts = False
    pipeline_tag = "automatic-speech-recognition"
    audio_spans_windows = False
    several_audios = False
    feature_mask: ClassVar[str | None] = "attention_mask"
    """Name of the keyword with the frame mask, which may be left out: see `sound`."""
    supplies = NEEDS - {"projected", "query", "first_layer"}
    unsupplied = "its decoder reads no question, and no projector stands before it"
    refuses = ()
    prompt = "{text}"
    relies_on: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "generate": GENERATION["generate"][1:4],
        "forward": ("attention_mask", "decoder_input_ids", "encoder_outputs", "labels"),
    }

    @abstractmethod
    def encoder(self, model: Any) -> nn.Module:
        """The encoder, whose ``last_hidden_state`` the decoder reads."""

    @abstractmethod
    def cross_attentions(self, model: Any) -> list[nn.Module]:
        """The decoder's modules that attend to the encoder's output, which take an ``attention_mask``."""

    @abstractmethod
    def bins(self, model: Any) -> int:
        """Number of features of a frame."""

    @abstractmethod
    def full_frames(self, model: Any) -> int:
        """Number of frames of a window."""

    def augmented(self, model: Any, features: Tensor, mask: Tensor | None) -> Tensor:
        """What upstream does to the features ``(windows, bins, frames)`` before the encoder, as in training."""
        return features

    def audio_inputs(self, call: Mapping[str, Any]) -> AudioInputs:
        features = torch.as_tensor(call[self.features])
        valid = sound_in(features, call.get(str(self.feature_mask)))
        return AudioInputs(features, valid.sum(-1), valid.long())

    def windows_of(self, call: Mapping[str, Any]) -> Windows:
        audio = self.audio_inputs(call)
        return Windows(audio.features, audio.frames.tolist(), audio.mask, [0] * len(audio.frames))

    def padding_tokens(self, seconds: float | None) -> int:
        """Tokens of padding that are read behind the sound, where there are as many."""
        wanted = self.padding_seconds if seconds is None else seconds
        return math.floor((wanted or 0.0) * self.frame_rate + 0.5)

    def project(self, model: Any, features: Tensor) -> Tensor:
        return features

    def around(self, audio_tower: nn.Module, projector: nn.Module) -> Any:
        raise UnsupportedModelError(
            f"The decoder of {self.model_type!r} attends to its encoder, so its audio cannot be compressed outside the "
            "model: patch the model, and call its encoder."
        )

    def audio_token_id(self, model: Any) -> int:
        raise UnsupportedModelError(
            f"{self.model_type!r} has no audio placeholder: its decoder attends to the encoder's output."
        )


def sound_in(features: Tensor, mask: Any = None) -> Tensor:
    """Which frames hold sound rather than padding.

    Args:
        features: ``(windows, bins, frames)``.
        mask: ``(windows, frames)``, not 0 for sound. Without one, the frames at the end of a window that have one value
            in all bins, the same in all frames, are its padding: the extractor writes digital silence so, and sound
            that is as silent cannot be told from it, and need not be.

    Returns:
        ``(windows, frames)`` bool.

    Raises:
        ValueError: the mask is not that of the features.
    """
    if mask is not None:
        given = torch.as_tensor(mask)
        if given.shape != (features.shape[0], features.shape[-1]):
            raise ValueError(
                f"The attention mask is {tuple(given.shape)}, the features have {features.shape[0]} windows of "
                f"{features.shape[-1]} frames: pass the mask that the processor returns beside them."
            )
        return given.to(features.device).ne(0)
    differs = (features != features[:, :1, -1:]).any(1)
    followed = differs.to(torch.uint8).flip(-1).cummax(-1).values.flip(-1).bool()
    # A frame is computed from 25 ms, so the first one behind the sound still hears its end. A full window has none.
    return torch.cat([followed[:, 1:], followed[:, -1:]], -1)


def warn_of_unknown_end(model: Any, valid: Tensor) -> None:
    """Log a warning, once per model, if without a mask no window has padding that could be recognised."""
    if model not in _WARNED and valid.numel() and bool(valid[:, -1].all()):
        _WARNED.add(model)
        logger.warning(
            "There is no `attention_mask` beside the features, and no padding at the end of a window: each is "
            "compressed as a whole. If the recordings are shorter, pass return_attention_mask=True to the processor "
            "and the mask to the model, or patch the processor, which then returns it. Shown once."
        )


def marked(features: Tensor, valid: Tensor) -> Tensor:
    """The features ``(windows, bins, frames)`` with one more bin, 1 for sound.

    Upstream's decoding of long audio cuts, pads, selects and repeats windows; what is in the features goes along.
    """
    return torch.cat([features, valid[:, None].to(features.dtype)], 1)


def unmarked(features: Tensor, bins: int) -> tuple[Tensor, Tensor | None]:
    """The features without the bin of `marked`, and which frames are sound, or None if they have no such bin."""
    if features.shape[1] != bins + 1:
        return features, None
    return features[:, :bins], features[:, bins] > 0.5
