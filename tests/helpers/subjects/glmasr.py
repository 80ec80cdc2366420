"""GLM-ASR: one audio of several windows of 2 s, in which padding is heard."""

from __future__ import annotations

from typing import Any

import torch
from transformers import GlmAsrConfig, GlmAsrForConditionalGeneration, GlmAsrProcessor, WhisperFeatureExtractor

from hf_tokcomp.testing import Subject, by_text

from . import parts

SECONDS = 2
"""Of a window: a second makes no whole number of tokens."""
AUDIO = "<|pad|>"


def processor() -> Any:
    features = WhisperFeatureExtractor(feature_size=16, chunk_length=SECONDS)
    return GlmAsrProcessor(features, parts.tokenizer([AUDIO]))


def model() -> Any:
    torch.manual_seed(0)
    ids = parts.tokenizer([AUDIO])
    config = GlmAsrConfig(
        audio_config={
            "model_type": "glmasr_encoder",
            "num_mel_bins": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "hidden_size": 16,
            "intermediate_size": 64,
            "max_position_embeddings": 50 * SECONDS,
        },
        text_config=parts.text_config(len(ids), "llama", head_dim=8),
        audio_token_id=ids.convert_tokens_to_ids(AUDIO),
        tie_word_embeddings=False,
    )
    names = ("language_model", "projector", "lm_head", "self_attn")
    return parts.made_telling(GlmAsrForConditionalGeneration(config), len(parts.BASIC) + 1, names)


SUBJECT = Subject(
    model, processor, by_text(lambda _, words: f"please {words} {AUDIO} tell me", parts.WORDS), window=float(SECONDS)
)
