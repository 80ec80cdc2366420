"""The thinker of Qwen2.5-Omni in vLLM, from a checkpoint of the whole or of it alone; it reads text and audio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import Qwen2_5OmniConfig
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.qwen2_audio import Qwen2AudioDummyInputsBuilder
from vllm.model_executor.models.utils import StageMissingLayer, WeightsMapper
from vllm.multimodal import MULTIMODAL_REGISTRY

from .flat_audio import FlatAudioModel, FlatAudioProcessor
from .imports import without_images
from .processing import CompressedInfo
from .served import COMPRESSION_KEY

with without_images():
    from vllm.model_executor.models import qwen2_5_omni_thinker as upstream


class Info(CompressedInfo, upstream.Qwen2_5OmniThinkerProcessingInfo):
    """Counts after compression, and no images."""

    def get_hf_config(self) -> Any:
        """The thinker's config."""
        config = self.ctx.get_hf_config()
        return getattr(config, "thinker_config", config)

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Any number of audios, and nothing else."""
        return {"audio": None}

    def validate_num_items(self, modality: str, num_items: int) -> None:
        """Raise for images and videos, whose positions in height and width are not served."""
        if modality != "audio" and num_items:
            raise ValueError(
                f"Under compression a prompt cannot have {modality}s: this architecture reads text and audio. Leave "
                "them out, or serve the model without hf_tokcomp's architecture."
            )
        super().validate_num_items(modality, num_items)


class Processor(FlatAudioProcessor, upstream.Qwen2_5OmniThinkerMultiModalProcessor):
    """Writes counts after compression."""


@MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=Qwen2AudioDummyInputsBuilder)
class HfTokcompQwen2_5OmniThinkerForConditionalGeneration(
    FlatAudioModel, upstream.Qwen2_5OmniThinkerForConditionalGeneration
):
    """The thinker of Qwen2.5-Omni with compressed audio. Its vision tower is not kept."""

    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={
            "talker.": None,
            "token2wav.": None,
            "thinker.": "",
            "model.language_model.": "language_model.model.",  # of adapters, as transformers 5.23 and newer name it
            "model.": "language_model.model.",
            "lm_head.": "language_model.lm_head.",
        }
    )

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=_of_the_whole(vllm_config), prefix=prefix)
        self.visual = StageMissingLayer("vision_tower")

    @property
    def projector(self) -> Any:
        """A part of the audio tower."""
        return self.audio_tower.proj

    def get_mm_mapping(self) -> MultiModelKeys:
        """Which modules are the language model and the tower, which holds the projector."""
        return MultiModelKeys.from_string_field(language_model="language_model.", tower_model="audio_tower.")


def _of_the_whole(vllm_config: Any) -> Any:
    """An engine's config as upstream reads it, where the model's config is that of a thinker alone."""
    own = vllm_config.model_config.hf_config
    if hasattr(own, "thinker_config"):
        return vllm_config
    whole = Qwen2_5OmniConfig(thinker_config=own.to_dict())
    whole.thinker_config = own
    setattr(whole, COMPRESSION_KEY, getattr(own, COMPRESSION_KEY, None))
    return vllm_config.with_hf_config(whole, architectures=own.architectures)
