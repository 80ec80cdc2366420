"""The base patch for models that concatenate four positions of a Whisper-type encoder into a token."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...config.encoder_options import EncoderOptions
from ...models.base import ModelPatch
from .encoder import WhisperEncoderPatch


class JoinedPositionsPatch(WhisperEncoderPatch):
    """12.5 tokens per second, each as wide as four positions. Padding is encoded and attended to like sound."""

    frame_rate = 12.5
    positions_per_token = 4
    masks_padding = False
    chat = None

    def feature_dim(self, model: Any) -> int:
        return int(self.tower(model).config.intermediate_size)  # upstream's name for the width of four positions

    def check_encoder(self, model: Any, options: EncoderOptions) -> None:
        ModelPatch.check_encoder(self, model, options)

    def run_encoder(self, model: Any, features: Tensor, mask: Tensor | None) -> Tensor:
        states = self.tower(model)(features).last_hidden_state
        return states.reshape(len(features), -1, self.feature_dim(model))  # type: ignore[no-any-return]
