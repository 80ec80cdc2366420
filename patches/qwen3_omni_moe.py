"""Qwen3-Omni with speech output: the thinker's input is compressed, and the talker speaks from the short prompt.

Upstream finds the turns and the audio by the prompt's ids, which are the short ones. The lengths of the audios, which
it also tells its talker, change positions only beside images and videos, so nothing stands in for them.
"""

from __future__ import annotations

from typing import Any

from .omni.parts import OmniPatch
from .qwen3_omni_moe_thinker import Qwen3OmniMoeThinkerPatch


class Qwen3OmniMoePatch(OmniPatch, Qwen3OmniMoeThinkerPatch):
    """`Qwen3OmniMoeForConditionalGeneration`."""

    model_type = "qwen3_omni_moe"
    model_classes = ("Qwen3OmniMoeForConditionalGeneration",)

    def speakers(self, model: Any) -> list[str]:
        return list(model.config.talker_config.speaker_id or ())


PATCH = Qwen3OmniMoePatch()
