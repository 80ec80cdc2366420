"""Qwen3-ASR: one audio of any length, whose encoder attends to a second at a time."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Qwen3ASRConfig, Qwen3ASRFeatureExtractor, Qwen3ASRForConditionalGeneration, Qwen3ASRProcessor

from hf_tokcomp.testing import Subject, by_text

from . import parts

NAMED = {"audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"}
AUDIO_CONFIG = {
    "num_mel_bins": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "d_model": 32,
    "output_dim": 32,
    "downsample_hidden_size": 8,
    "n_window_infer": 100,
}
SECONDS = 2.5
"""More than a block of the encoder, and no whole number of them."""


def processor() -> Any:
    return Qwen3ASRProcessor(Qwen3ASRFeatureExtractor(feature_size=16), parts.tokenizer([*NAMED.values()], **NAMED))


def model(heads: int = 8) -> Any:
    """With four attention heads of this width in the language model."""
    torch.manual_seed(0)
    ids = parts.tokenizer([*NAMED.values()])
    config = Qwen3ASRConfig(
        audio_config={"model_type": "qwen3_asr_encoder", **AUDIO_CONFIG, "output_dim": 4 * heads},
        text_config=parts.text_config(len(ids), "qwen3", head_dim=heads, hidden_size=4 * heads),
        audio_token_id=ids.convert_tokens_to_ids(NAMED["audio_token"]),
        pad_token_id=0,
        eos_token_id=2,
        tie_word_embeddings=False,
    )
    built = Qwen3ASRForConditionalGeneration(config)
    return parts.made_telling(built, len(parts.BASIC) + len(NAMED), names=(*parts.TELLING, "audio_tower"))


SUBJECT = Subject(
    model,
    processor,
    by_text(lambda _, words: f"please {words} <|audio_start|> <|audio_pad|> <|audio_end|> tell me", parts.WORDS),
    window=SECONDS,
)
