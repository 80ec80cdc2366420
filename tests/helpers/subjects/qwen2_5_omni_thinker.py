"""Qwen2.5-Omni's thinker: several audios of up to 2 s, in blocks of 0.4 s."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerConfig,
    Qwen2_5OmniThinkerForConditionalGeneration,
    WhisperFeatureExtractor,
)

from hf_tokcomp.testing import Subject, by_text

from . import parts

NAMED = {
    "audio_token": "<|AUDIO|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
}
MARKS = (*NAMED.values(),)
SILENT = len(parts.BASIC) + len(MARKS)
"""Ids below this one are never said."""


@parts.registered(Qwen2_5OmniThinkerConfig)
class HearingQwen25Omni(parts.Hearing, Qwen2_5OmniProcessor):
    """Without what reads images and videos."""


def processor(seconds: int = 2) -> Any:
    """Of windows of so many seconds."""
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=seconds)
    return HearingQwen25Omni(extractor, parts.tokenizer(MARKS, **NAMED))


def config(heads: int = 8) -> dict[str, Any]:
    """Of the thinker, with four attention heads of this width in the language model."""
    ids = parts.tokenizer(MARKS)
    text = parts.text_config(len(ids), "qwen2_5_omni_text", hidden_size=4 * heads)
    sections = [heads // 4, heads // 8, heads // 8]
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": sections}
    return {
        "audio_config": {
            "num_mel_bins": 16,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "d_model": 16,
            "n_window": 20,
            "output_dim": 4 * heads,
        },
        "vision_config": {
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 4 * heads,
        },
        "text_config": text,
        "audio_token_index": ids.convert_tokens_to_ids("<|AUDIO|>"),
        "audio_start_token_id": ids.convert_tokens_to_ids("<|audio_bos|>"),
        "audio_end_token_id": ids.convert_tokens_to_ids("<|audio_eos|>"),
        "image_token_index": ids.convert_tokens_to_ids("<|IMAGE|>"),
        "video_token_index": ids.convert_tokens_to_ids("<|VIDEO|>"),
        "vision_start_token_id": ids.convert_tokens_to_ids("<|vision_bos|>"),  # upstream reads it without a default
    }


def model() -> Any:
    torch.manual_seed(0)
    built = Qwen2_5OmniThinkerForConditionalGeneration(Qwen2_5OmniThinkerConfig(**config()))
    return telling(built)


def telling(thinker: Any) -> Any:
    """As `parts.made_telling`, with an encoder that hears more than where it is."""
    with torch.no_grad():
        for convolution in (thinker.model.audio_tower.conv1, thinker.model.audio_tower.conv2):
            convolution.weight.normal_(0, 0.25)
    return parts.made_telling(thinker, SILENT, ("language_model", "audio_tower", "lm_head"))


def prompt(audios: int, words: str) -> str:
    return f"please {words} {' '.join(['<|audio_bos|> <|AUDIO|> <|audio_eos|>'] * audios)} tell me"


SUBJECT = Subject(model, processor, by_text(prompt, parts.WORDS))
