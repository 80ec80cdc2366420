"""What vLLM's front end knows of compressed audio: how many tokens each has, and the most it can have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from vllm import envs
from vllm.multimodal.inputs import MultiModalFieldConfig

from .positions import FULL_TOKENS
from .served import COMPRESSION_KEY, Served, budget_of

BUDGET = "audio_budget"
"""Field of an audio's processed data: the budget it is compressed to, ``(3,)`` as `budget_of` gives it."""
WINDOWS = "chunk_counts"
"""Field of an audio's processed data: the number of its windows, under the name that vLLM uses."""
AUDIO_TOKENS = "audio_num_tokens"
"""Field of an audio's processed data: its tokens after compression, under the name that vLLM uses."""


class CompressedInfo:
    """Put before vLLM's processing info of a model. The compression is read, and refused, when the engine starts."""

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)  # type: ignore[call-arg]
        self.served = Served.of(ctx.model_config)

    def get_hf_processor(self, **kwargs: Any) -> Any:
        """Upstream's processor, which knows nothing of a request's compression."""
        kwargs.pop(COMPRESSION_KEY, None)
        return super().get_hf_processor(**kwargs)  # type: ignore[misc]

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int] | None = None) -> Mapping[str, int]:
        """The most tokens an audio can have, after compression."""
        if (mm_counts or {}).get("audio", 0) <= 0:
            return {}
        processor = self.get_hf_processor()
        patch, extractor = self.served.patch, processor.feature_extractor
        window = patch.window_tokens(patch.mel_frames(processor, extractor.chunk_length * extractor.sampling_rate))
        return {"audio": self.served.most_left_of(int(self.longest_audio() // extractor.chunk_length) * window)}

    def longest_audio(self) -> float:
        """The longest audio that is read, in seconds: with long_audio="windows" the longest that vLLM lets in."""
        if self.served.config.long_audio == "windows":
            return float(envs.VLLM_MAX_AUDIO_DECODE_DURATION_S)
        return self.served.patch.longest_audio(self.get_hf_processor())


class CompressedProcessor:
    """Put before vLLM's processor of a model. It writes each audio's count, which upstream's code then uses."""

    info: Any

    def _call_hf_processor(self, hf_data: Any, hf_kwargs: Mapping[str, Any]) -> Any:
        upstreams = {name: value for name, value in hf_kwargs.items() if name != COMPRESSION_KEY}
        return super()._call_hf_processor(hf_data, upstreams)  # type: ignore[misc]

    def _postprocess_hf_mm_data(self, mm_inputs: Any, hf_processor_mm_kwargs: Any, processed_data: Any) -> Any:
        data = super()._postprocess_hf_mm_data(mm_inputs, hf_processor_mm_kwargs, processed_data)  # type: ignore[misc]
        frames = self._frames(data)
        if frames is None:
            return data  # embeddings from outside, which have their own counts
        served: Served = self.info.served
        config = served.of_request(hf_processor_mm_kwargs.get(COMPRESSION_KEY))
        windows = data.get(WINDOWS)
        full = served.tokens_of(frames, None if windows is None else windows.tolist())
        data[FULL_TOKENS] = torch.tensor(full)
        data[AUDIO_TOKENS] = torch.tensor(served.check_left(config, full))
        data[BUDGET] = torch.tensor([budget_of(config)] * len(full), dtype=torch.float64)
        return data

    def _frames(self, data: Any) -> list[int] | None:
        """Number of valid frames in each window; None if there are none."""
        features, mask = data.get("input_features"), data.get("feature_attention_mask")
        if features is None:
            return None
        return [features.shape[-1]] * len(features) if mask is None else mask.ne(0).sum(-1).tolist()

    def _get_mm_fields_config(self, hf_inputs: Any, hf_processor_mm_kwargs: Any) -> Mapping[str, Any]:
        fields = super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs)  # type: ignore[misc]
        ours = MultiModalFieldConfig.batched("audio", keep_on_cpu=True)
        return {**fields, FULL_TOKENS: ours, AUDIO_TOKENS: ours, BUDGET: ours}

    def _get_mm_hashes(self, inputs: Any) -> Any:
        # Engines under different compressions may share a cache.
        return inputs.get_mm_hashes(
            f"{self.info.model_id}#{self.info.served.name}", self.info.ctx.get_mm_config().mm_hasher_algorithm
        )
