"""A stand-in for a model of which there are only the audio tower and the projector, as in an inference engine."""

from __future__ import annotations

from typing import Any

from torch import nn


class AudioParts:
    """What a patch takes as ``model`` where it reads ``model.model.audio_tower`` and no more than a projector beside.

    Args:
        audio_tower: upstream's audio encoder.
        projector: maps encoder space to the language model's.
    """

    def __init__(self, audio_tower: nn.Module, projector: nn.Module) -> None:
        self.model = self
        self.audio_tower, self.multi_modal_projector = audio_tower, projector

    def get_input_embeddings(self) -> Any:
        """A module in the language model's dtype, which is all that is read of it here: what the projector gives."""
        return next(module for module in self.multi_modal_projector.modules() if hasattr(module, "weight"))
