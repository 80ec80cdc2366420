"""What models have in common that join four positions of a Whisper-type encoder to a token, one behind the other."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...config.encoder_options import EncoderOptions
from ...models.base import ModelPatch
from .encoder import WhisperEncoderPatch


class JoinedPositionsPatch(WhisperEncoderPatch):
    """12.5 tokens a second, as wide as four positions. Padding is encoded and attended to like sound."""

    frame_rate = 12.5
    positions_per_token = 4
    masks_padding = False
    chat = None

    def feature_dim(self, model: Any) -> int:
        return int(model.config.audio_config.intermediate_size)  # upstream's name for four positions together

    def check_encoder(self, model: Any, options: EncoderOptions) -> None:
        ModelPatch.check_encoder(self, model, options)

    def run_encoder(self, model: Any, features: Tensor, mask: Tensor | None) -> Tensor:
        states = model.model.audio_tower(features).last_hidden_state
        return states.reshape(len(features), -1, self.feature_dim(model))  # type: ignore[no-any-return]
