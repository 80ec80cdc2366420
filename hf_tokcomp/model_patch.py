"""ModelPatch: what hf_tokcomp must know of an upstream model. One subclass per model, in `patches/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor


@dataclass(eq=False)
class EncodedWindows:
    """The encoder's output for a batch of windows; what was not asked for is None.

    Args:
        features: ``(windows, tokens, dim)``.
        attention: ``(windows, tokens)`` float32, attention received in the last layer.
        keys: ``(windows, tokens, head_dim)`` float32, the last layer's keys averaged over heads.
    """

    features: Tensor
    attention: Tensor | None = None
    keys: Tensor | None = None


class ModelPatch(ABC):
    """Knowledge of one upstream model: where features come out, what the mask is called, the length arithmetic."""

    model_type: ClassVar[str]
    """``config.model_type``."""
    model_classes: ClassVar[tuple[str, ...]]
    """Names of the classes with a head that can be patched."""
    processor_class: ClassVar[str]
    feature_mask: ClassVar[str]
    """Name of the keyword with the mask of the mel frames, ``(windows, frames)``."""
    audio_spans_windows: ClassVar[bool]
    """True: one audio per prompt, of several windows; False: several audios per prompt, of one window each."""
    frame_rate: ClassVar[float] = 25.0
    """Audio tokens per second."""
    attributes: ClassVar[Mapping[str, Any]] = {}
    """Attributes set on the patched instance, and taken back by `unpatch`."""
    relies_on: ClassVar[Mapping[str, tuple[str, ...]]]
    """Parameters by method of the model class, checked against a transformers newer than the newest tried."""
    prompt: ClassVar[str]
    """Prompt for the command line where the processor has no chat template; ``{text}`` is the instruction."""

    @abstractmethod
    def window_tokens(self, frames: int) -> int:
        """Audio tokens of a window with so many valid mel frames."""

    @abstractmethod
    def window_frames(self, model: Any) -> int:
        """Mel frames of a full window."""

    @abstractmethod
    def encode(self, model: Any, features: Tensor, mask: Tensor, needs: frozenset[str]) -> EncodedWindows:
        """Run the audio encoder, up to but without the projector.

        Args:
            model: the model.
            features: ``(windows, mel bins, frames)``.
            mask: ``(windows, frames)``.
            needs: what is wanted beside the features.
        """

    @abstractmethod
    def project(self, model: Any, features: Tensor) -> Tensor:
        """``(audios, slots, dim)`` in encoder space to ``(audios, slots, hidden)`` in the language model's."""

    def audio_token_id(self, model: Any) -> int:
        """The id of the audio placeholder."""
        return int(model.config.audio_token_id)
