"""Qwen2-Audio in vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from vllm.model_executor.models import qwen2_audio as upstream
from vllm.model_executor.models.interfaces import SupportsLoRA
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.utils.tensor_schema import TensorSchema

from ...patching.windows import windows_of_samples
from .model import CompressedAudioModel
from .processing import BUDGET, WINDOWS, CompressedInfo, CompressedProcessor


class Info(CompressedInfo, upstream.Qwen2AudioProcessingInfo):
    """Counts after compression."""


class DummyInputs(upstream.Qwen2AudioDummyInputsBuilder):
    """The largest inputs, for which vLLM makes room."""

    info: Info

    def get_dummy_mm_data(self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Any) -> Any:
        """Audios of the longest kind."""
        samples = int(self.info.longest_audio() * self.info.get_feature_extractor().sampling_rate)
        count, overrides = mm_counts.get("audio", 0), mm_options.get("audio")
        return {"audio": self._get_dummy_audios(length=samples, num_audios=count, overrides=overrides)}


class Processor(CompressedProcessor, upstream.Qwen2AudioMultiModalProcessor):
    """Writes counts after compression, and with long_audio="windows" makes windows of an audio."""

    info: Info

    def _call_hf_processor(self, hf_data: Any, hf_kwargs: Mapping[str, Any]) -> Any:
        served = self.info.served
        if served.config.long_audio == "cut" or "audio" not in hf_data:
            return super()._call_hf_processor(hf_data, hf_kwargs)
        processor = self.info.get_hf_processor()
        windows = [windows_of_samples(processor, served.patch, audio) for audio in hf_data["audio"]]
        flat = [window for each in windows for window in each]
        text = self.dummy_inputs.get_dummy_text({"audio": len(flat)})
        data = super()._call_hf_processor({**hf_data, "text": text, "audio": flat}, hf_kwargs)
        data[WINDOWS] = torch.tensor([len(each) for each in windows])
        return data

    def _get_mm_fields_config(self, hf_inputs: Any, hf_processor_mm_kwargs: Any) -> Mapping[str, Any]:
        fields = dict(super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs))
        if WINDOWS in hf_inputs:
            flat = MultiModalFieldConfig.flat_from_sizes("audio", hf_inputs[WINDOWS], dim=0)
            fields |= {"input_features": flat, "feature_attention_mask": flat}
            fields[WINDOWS] = MultiModalFieldConfig.batched("audio", keep_on_cpu=True)
        return fields


class WindowsOfAnyLength:
    """Put before vLLM's class of the model, whose schema insists on 30 s of frames."""

    def _parse_and_validate_audio_input(self, **kwargs: Any) -> Any:
        if kwargs.get("input_features") is None or kwargs.get("audio_embeds") is not None:
            return super()._parse_and_validate_audio_input(**kwargs)  # type: ignore[misc]
        features = {name: kwargs[name] for name in ("input_features", "feature_attention_mask")}
        return TensorSchema(type="audio_features", **features)


@MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=DummyInputs)
class HfTokcompQwen2AudioForConditionalGeneration(
    CompressedAudioModel, WindowsOfAnyLength, upstream.Qwen2AudioForConditionalGeneration, SupportsLoRA
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
        windows = audio_input.get(WINDOWS)
        if isinstance(features, list):  # of several audios in windows
            features, mask = torch.cat(features), torch.cat(mask)
        return self.compressed(
            features, mask, None if windows is None else windows.tolist(), budgets=audio_input[BUDGET]
        )
