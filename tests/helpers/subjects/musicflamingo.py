"""Music Flamingo: one audio of several windows of 1 s, between marks that its processor writes."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    MusicFlamingoConfig,
    MusicFlamingoForConditionalGeneration,
    MusicFlamingoProcessor,
    WhisperFeatureExtractor,
)

from hf_tokcomp.testing import Subject, by_text

from . import parts

MARKS = ("<sound>", "<|sound_bos|>", "<|sound_eos|>")


def processor() -> Any:
    features = WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    return MusicFlamingoProcessor(features, parts.tokenizer(MARKS), max_audio_len=600)


def model() -> Any:
    torch.manual_seed(0)
    ids = parts.tokenizer(MARKS)
    marks = dict(zip(("audio_token_id", "audio_bos_token_id", "audio_eos_token_id"), MARKS, strict=True))
    config = MusicFlamingoConfig(
        audio_config={
            "model_type": "audioflamingo3_encoder",
            "num_mel_bins": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "hidden_size": 32,
            "intermediate_size": 32,
            "max_source_positions": 50,
        },
        text_config=parts.text_config(len(ids)),
        **{name: ids.convert_tokens_to_ids(mark) for name, mark in marks.items()},
    )
    return parts.made_telling(MusicFlamingoForConditionalGeneration(config), len(parts.BASIC) + len(MARKS))


SUBJECT = Subject(model, processor, by_text(lambda _, words: f"please {words} <sound> tell me", parts.WORDS))
