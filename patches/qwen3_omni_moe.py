"""Qwen3-Omni with speech output: the thinker's input is compressed, and the talker speaks from the short prompt.

Upstream finds the turns and the audio by the prompt's ids, which are the short ones. The lengths of the audios, which
it also tells its talker, change positions only beside images and videos, so nothing stands in for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .omni.parts import OmniPatch
from .qwen3_omni_moe_thinker import Qwen3OmniMoeThinkerPatch


class Qwen3OmniMoePatch(OmniPatch, Qwen3OmniMoeThinkerPatch):
    """`Qwen3OmniMoeForConditionalGeneration`."""

    model_type = "qwen3_omni_moe"
    model_classes = ("Qwen3OmniMoeForConditionalGeneration",)

    def speak(self, model: Any, inputs: Mapping[str, Any], *keywords: Mapping[str, Any]) -> tuple[Tensor, list[Tensor]]:
        if not bool((inputs["input_ids"] == model.config.im_start_token_id).any(1).all()):
            raise ValueError(
                "The talker answers the turns of a user, which begin with <|im_start|>user, and a prompt has none. Use "
                "the processor's chat template."
            )
        return super().speak(model, inputs, *keywords)

    def speakers(self, model: Any) -> list[str]:
        return list(model.config.talker_config.speaker_id or ())


PATCH = Qwen3OmniMoePatch()
