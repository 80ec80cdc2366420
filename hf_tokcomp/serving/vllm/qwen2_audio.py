"""Qwen2-Audio in vLLM."""

from __future__ import annotations

from typing import Any

from vllm.model_executor.models import qwen2_audio as upstream
from vllm.model_executor.models.interfaces import SupportsLoRA
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.multimodal import MULTIMODAL_REGISTRY

from .model import CompressedAudioModel
from .processing import BUDGET, CompressedInfo, CompressedProcessor


class Info(CompressedInfo, upstream.Qwen2AudioProcessingInfo):
    """Counts after compression."""


class Processor(CompressedProcessor, upstream.Qwen2AudioMultiModalProcessor):
    """Writes counts after compression."""


@MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=upstream.Qwen2AudioDummyInputsBuilder)
class HfTokcompQwen2AudioForConditionalGeneration(
    CompressedAudioModel, upstream.Qwen2AudioForConditionalGeneration, SupportsLoRA
):
    """Qwen2-Audio with compressed audio; also takes adapters, which upstream's class does not."""

    packed_modules_mapping = {  # noqa: RUF012 - as upstream declares it
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }

    def get_mm_mapping(self) -> MultiModelKeys:
        """Which modules are the language model, the projector and the tower."""
        return MultiModelKeys.from_string_field(
            language_model="language_model.", connector="multi_modal_projector.", tower_model="audio_tower."
        )

    def _process_audio_input(self, audio_input: Any) -> Any:
        if audio_input["type"] == "audio_embeds":
            return super()._process_audio_input(audio_input)
        features, mask = audio_input["input_features"], audio_input["feature_attention_mask"]
        return self.compressed(features, mask, budgets=audio_input[BUDGET])
