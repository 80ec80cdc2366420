"""Qwen3-Omni's thinker, the part that reads and writes text: several audios per prompt, each up to 40 minutes.

Its encoder ends with the projector. `encode` reads the states before it, so the projector runs once more than needed
(less than a hundredth of the encoder's operations). Images would also need deepstack, which adds their states in deeper
layers, at columns of the whole prompt.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..models.windows import Windows
from .omni.parts import OmniThinkerPatch
from .qwen3.encoder import Qwen3EncoderPatch


class Qwen3OmniMoeThinkerPatch(OmniThinkerPatch, Qwen3EncoderPatch):
    """`Qwen3OmniMoeThinkerForConditionalGeneration`."""

    model_type = "qwen3_omni_moe_thinker"
    model_classes = ("Qwen3OmniMoeThinkerForConditionalGeneration",)
    processor_class = "Qwen3OmniMoeProcessor"
    lora_targets: ClassVar[dict[str, str]] = Qwen3EncoderPatch.lora_targets | {
        # Not the experts, which are no linear layers, and whose adapters PEFT allows no dropout.
        "language_model": r".*\.language_model\..*\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)",
    }

    def longest_audio(self, processor: Any) -> float:
        return 2400.0

    def run_encoder(self, model: Any, windows: Windows) -> None:
        model.model.get_audio_features(windows.features, feature_attention_mask=torch.as_tensor(windows.mask))

    def projector(self, model: Any) -> nn.Module:
        return model.model.audio_tower.proj1  # type: ignore[no-any-return]

    def project(self, model: Any, features: Tensor) -> Tensor:
        tower = model.model.audio_tower
        return tower.proj2(tower.act(tower.proj1(features)))  # type: ignore[no-any-return]


PATCH = Qwen3OmniMoeThinkerPatch()
