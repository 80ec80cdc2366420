"""Qwen2.5-Omni with speech output: the thinker's input is compressed, and the talker speaks from the short prompt.

If upstream's `generate` is given features, it zeroes the audio's slots in the first hidden state; a stand-in for the
features is passed, which does not reach the thinker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .omni.parts import OmniPatch
from .qwen2_5_omni_thinker import Qwen25OmniThinkerPatch


class Qwen25OmniPatch(OmniPatch, Qwen25OmniThinkerPatch):
    """`Qwen2_5OmniForConditionalGeneration`."""

    model_type = "qwen2_5_omni"
    model_classes = ("Qwen2_5OmniForConditionalGeneration",)

    def composite_call(self, model: Any, call: dict[str, Any]) -> dict[str, Any]:
        return super().composite_call(model, call) | {self.features: call["inputs_embeds"]}

    def speakers(self, model: Any) -> list[str]:
        return list(model.speaker_map)

    def save_beside(self, model: Any, folder: Path) -> None:
        if model.speaker_map:
            folder.mkdir(parents=True, exist_ok=True)
            torch.save(model.speaker_map, folder / "spk_dict.pt")  # the voices


PATCH = Qwen25OmniPatch()
