"""Whisper at 25 tokens a second: neighbouring positions averaged before the last norm, as Qwen2-Audio's encoder does.

Audio-language models begin at 25 tokens a second or fewer, where a fraction leaves half as many tokens of a second as
at Whisper's own 50. The weights are Whisper's; its decoder was not trained for this.
"""

from __future__ import annotations

from typing import Any

from hf_tokcomp.patches.whisper import WhisperPatch  # type: ignore[import-not-found]  # lies in patches/
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperForConditionalGeneration

from hf_tokcomp.models import registry

MODEL_TYPE = "whisper_pooled"


class PooledWhisperConfig(WhisperConfig):  # type: ignore[misc]
    """Whisper's config under a type of its own, by which the patch is found."""

    model_type = MODEL_TYPE


class PooledLayerNorm(nn.LayerNorm):
    """The encoder's last norm, of pairs of positions: ``(windows, positions, dim)`` to half as many."""

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(nn.functional.avg_pool1d(states.transpose(1, 2), 2).transpose(1, 2))


class PooledWhisper(WhisperForConditionalGeneration):  # type: ignore[misc]
    """Whisper whose decoder reads 25 tokens a second, 750 of a window; see `from_whisper`."""

    config_class = PooledWhisperConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model.encoder.layer_norm = PooledLayerNorm(config.d_model)

    @classmethod
    def from_whisper(cls, name: str, **options: Any) -> PooledWhisper:
        """Load Whisper's weights, from a folder or the Hub, into a model that hf_tokcomp knows."""
        register()
        values = {key: v for key, v in WhisperConfig.from_pretrained(name).to_dict().items() if key != "model_type"}
        found: PooledWhisper = cls.from_pretrained(name, config=PooledWhisperConfig(**values), **options)
        return found


class PooledWhisperPatch(WhisperPatch):  # type: ignore[misc]
    """`PooledWhisper`."""

    model_type = MODEL_TYPE
    model_classes = ("PooledWhisper",)
    auto_classes = ()
    frame_rate = 25.0
    positions_per_token = 2


PATCH = PooledWhisperPatch()


def register() -> None:
    """Make the model known to hf_tokcomp, once."""
    if MODEL_TYPE not in registry.PATCHES:
        registry.register_model(MODEL_TYPE, __name__)
