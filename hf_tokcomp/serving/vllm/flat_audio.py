"""What Qwen3-ASR and Qwen2.5-Omni share in vLLM: the frames of all audios stand one after another, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from vllm.multimodal.processing import PromptReplacement

from .model import CompressedAudioModel
from .processing import AUDIO_TOKENS, BUDGET, CompressedProcessor

LENGTHS = "audio_feature_lengths"
"""Field of an audio's processed data: its frames."""


class FlatAudioProcessor(CompressedProcessor):
    """Put before vLLM's processor of a model, which would count every audio's tokens before compression."""

    def _frames(self, data: Any) -> list[int] | None:
        lengths = data.get(LENGTHS)
        return None if lengths is None else [int(n) for n in lengths.flatten().tolist()]

    def _get_prompt_updates(self, mm_items: Any, hf_processor_mm_kwargs: Any, out_mm_kwargs: Any) -> Sequence[Any]:
        placeholder = self.info.get_hf_processor(**hf_processor_mm_kwargs).audio_token
        target = [self.info.get_tokenizer().get_vocab()[placeholder]]
        counts = out_mm_kwargs.get_data().get(AUDIO_TOKENS)

        def placeholders(item: int) -> list[int]:
            if counts is None:
                raise ValueError("vLLM's class of this model takes no embeddings in an audio's place; give the audio.")
            if not int(counts[item]):
                raise ValueError("The audio is too short for a single token; give at least a tenth of a second.")
            return target * int(counts[item])

        return [PromptReplacement(modality="audio", target=target, replacement=placeholders)]


class FlatAudioModel(CompressedAudioModel):
    """Put before vLLM's class of a model."""

    def _process_audio_input(self, audio_input: Any) -> Any:
        flat, frames = audio_input["input_features"], audio_input[LENGTHS].flatten()
        features = pad_sequence(list(flat.T.split(frames.tolist())), batch_first=True).transpose(1, 2)
        mask = torch.arange(features.shape[-1]) < frames[:, None].cpu()
        dtype = next(self.audio_tower.parameters()).dtype
        return self.compressed(features.to(dtype), mask.long().to(features.device), budgets=audio_input[BUDGET])
