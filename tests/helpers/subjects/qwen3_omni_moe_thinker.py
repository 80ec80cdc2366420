"""Qwen3-Omni's thinker: several audios of any length, in front of a mixture of experts."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    Qwen3OmniMoeProcessor,
    Qwen3OmniMoeThinkerConfig,
    Qwen3OmniMoeThinkerForConditionalGeneration,
    WhisperFeatureExtractor,
)

from hf_tokcomp.testing import Subject, by_text

from . import parts
from .qwen3_asr import AUDIO_CONFIG, NAMED, SECONDS

MARKS = NAMED | {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "im_start_token": "<|im_start|>",
    "im_end_token": "<|im_end|>",
}
WORDS = (*parts.WORDS, "user", "assistant")
AUDIO = " <|audio_start|> <|audio_pad|> <|audio_end|>"


@parts.registered(Qwen3OmniMoeThinkerConfig)
class HearingQwen3Omni(parts.Hearing, Qwen3OmniMoeProcessor):
    """Without what reads images and videos."""


def tokenizer(**named: str) -> Any:
    return parts.tokenizer([*MARKS.values()], WORDS, **named)


def processor() -> Any:
    features = WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    return HearingQwen3Omni(features, tokenizer(**MARKS))


def config() -> dict[str, Any]:
    """Of the thinker."""
    words = tokenizer()
    ids = {f"{name}_id": words.convert_tokens_to_ids(mark) for name, mark in MARKS.items()}
    text = parts.text_config(
        len(words),
        "qwen3_omni_moe_text",
        moe_intermediate_size=16,
        num_experts=4,
        num_experts_per_tok=2,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
    )
    return {
        "audio_config": AUDIO_CONFIG,
        "vision_config": {
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 32,
            "deepstack_visual_indexes": [0],
        },
        "text_config": {name: value for name, value in text.items() if name != "model_type"},
        "audio_token_id": ids["audio_token_id"],
        "image_token_id": ids["image_token_id"],
        "video_token_id": ids["video_token_id"],
        "audio_start_token_id": ids["audio_bos_token_id"],
        "vision_start_token_id": ids["vision_bos_token_id"],
        "tie_word_embeddings": False,
    }


def telling(thinker: Any) -> Any:
    """As `parts.made_telling`."""
    return parts.made_telling(thinker, len(parts.BASIC) + len(MARKS), names=(*parts.TELLING, "audio_tower"))


def model() -> Any:
    torch.manual_seed(0)
    return telling(Qwen3OmniMoeThinkerForConditionalGeneration(Qwen3OmniMoeThinkerConfig(**config())))


SUBJECT = Subject(
    model,
    processor,
    by_text(lambda audios, words: f"please {words}" + AUDIO * audios + " tell me", parts.WORDS),
    window=SECONDS,
)
