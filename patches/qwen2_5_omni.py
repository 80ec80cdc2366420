"""Qwen2.5-Omni with speech output: the thinker's input is compressed, and the talker speaks from the short prompt.

Upstream's `generate` feeds the talker the thinker's hidden states of the prompt along with the prompt's ids, so it gets
the short ids, and the thinker inside it the short embeddings and positions. If it is given features, it zeroes the
audio's slots in the first hidden state; a stand-in for the features is passed, which does not reach the thinker.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch

from .qwen2_5_omni_thinker import Qwen25OmniThinkerPatch


class Qwen25OmniPatch(Qwen25OmniThinkerPatch):
    """`Qwen2_5OmniForConditionalGeneration`."""

    model_type = "qwen2_5_omni"
    model_classes = ("Qwen2_5OmniForConditionalGeneration",)
    auto_classes = ("AutoModelForMultimodalLM", "AutoModelForTextToWaveform")
    text_options = 'generation_mode="text", thinker_max_new_tokens={count}'
    relies_on: ClassVar[dict[str, tuple[str, ...]]] = {"generate": ("input_ids", "speaker", "kwargs")}
    speech_rate = 24_000

    def inner(self, model: Any) -> Any:
        return getattr(model, "thinker", model)

    def composite_call(self, model: Any, call: dict[str, Any]) -> dict[str, Any]:
        own = ("inputs_embeds", "position_ids")
        renamed = {f"thinker_{name}" if name in own else name: value for name, value in call.items()}
        return renamed | {self.features: call["inputs_embeds"]}

    def speakers(self, model: Any) -> list[str]:
        return list(model.speaker_map)

    def save_beside(self, model: Any, folder: Path) -> None:
        if model.speaker_map:
            folder.mkdir(parents=True, exist_ok=True)
            torch.save(model.speaker_map, folder / "spk_dict.pt")  # the voices


PATCH = Qwen25OmniPatch()
