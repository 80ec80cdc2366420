"""Audio Flamingo 3 in vLLM."""

from __future__ import annotations

from typing import Any

from transformers.models.audioflamingo3.modeling_audioflamingo3 import AudioFlamingo3Encoder
from vllm.model_executor.models import audioflamingo3 as upstream
from vllm.multimodal import MULTIMODAL_REGISTRY

from .model import CompressedAudioModel
from .processing import BUDGET, CompressedInfo, CompressedProcessor


class Info(CompressedInfo, upstream.AudioFlamingo3ProcessingInfo):
    """Counts after compression."""


class Processor(CompressedProcessor, upstream.AudioFlamingo3MultiModalProcessor):
    """Writes counts after compression."""


@MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=upstream.AudioFlamingo3DummyInputsBuilder)
class HfTokcompAudioFlamingo3ForConditionalGeneration(
    CompressedAudioModel, upstream.AudioFlamingo3ForConditionalGeneration
):
    """Audio Flamingo 3 with compressed audio."""

    def _use_upstreams_tower(self) -> None:
        # vLLM's takes a prepared attention mask, transformers' the frame mask; the weights have the same names.
        self.audio_tower = AudioFlamingo3Encoder(self.config.audio_config)

    def _process_audio_input(self, audio_input: Any) -> Any:
        if audio_input.type == "audio_embeds":
            return super()._process_audio_input(audio_input)
        return self.compressed(*self._normalize_audio_feature_inputs(audio_input), budgets=audio_input[BUDGET])
