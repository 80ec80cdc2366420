"""Qwen3-ASR in vLLM, also from checkpoints in the names of its first release, as vLLM reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.models.qwen3_asr.configuration_qwen3_asr import Qwen3ASREncoderConfig
from transformers.models.qwen3_asr.modeling_qwen3_asr import Qwen3ASREncoder, Qwen3ASRMultiModalProjector
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import WeightsMapper
from vllm.multimodal import MULTIMODAL_REGISTRY

from .flat_audio import FlatAudioModel, FlatAudioProcessor
from .imports import without_images
from .processing import CompressedInfo

with without_images():
    from vllm.model_executor.models import qwen3_asr as upstream


class Info(CompressedInfo, upstream.Qwen3ASRProcessingInfo):
    """Counts after compression."""

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """One audio per prompt, as in transformers."""
        return {"audio": 1}


class Processor(FlatAudioProcessor, upstream.Qwen3ASRMultiModalProcessor):
    """Writes counts after compression."""


@MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=upstream.Qwen3ASRDummyInputsBuilder)
class HfTokcompQwen3ASRForConditionalGeneration(FlatAudioModel, upstream.Qwen3ASRForConditionalGeneration):
    """Qwen3-ASR with compressed audio."""

    supports_tower_connector_lora = False  # the tower is transformers', of plain layers
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={
            # as transformers saves it
            "model.audio_tower.": "audio_tower.",
            "model.multi_modal_projector.": "multi_modal_projector.",
            "model.language_model.": "language_model.model.",
            "lm_head.": "language_model.lm_head.",
            # as it was released first, with the projector in the tower
            "thinker.audio_tower.proj1.": "multi_modal_projector.linear_1.",
            "thinker.audio_tower.proj2.": "multi_modal_projector.linear_2.",
            "thinker.audio_tower.": "audio_tower.",
            "thinker.model.": "language_model.model.",
            "thinker.lm_head.": "language_model.lm_head.",
        }
    )

    def _use_upstreams_tower(self) -> None:
        # vLLM's holds the projector, and joins the projections of queries and keys, which some methods read.
        theirs = self.config.audio_config.to_dict()
        names = Qwen3ASREncoderConfig().to_dict().keys() - {"model_type"}
        config = Qwen3ASREncoderConfig(**{name: theirs[name] for name in names if name in theirs})
        self.audio_tower = Qwen3ASREncoder(config)
        self.multi_modal_projector = Qwen3ASRMultiModalProjector(_Holding(config))

    def get_mm_mapping(self) -> MultiModelKeys:
        """Which modules are the language model, the projector and the tower."""
        return MultiModelKeys.from_string_field(
            language_model="language_model.", connector="multi_modal_projector.", tower_model="audio_tower."
        )


class _Holding:
    """A model's config, as far as the projector reads it."""

    def __init__(self, audio_config: Any) -> None:
        self.audio_config = audio_config
