"""Sizes of models so small that a call takes milliseconds; windows are one second long."""

from __future__ import annotations

from typing import Any

WIDTH, FFN, BINS, POSITIONS, LAYERS = 32, 48, 16, 50, 2
HIDDEN, MIDDLE, HEADS, KEY_HEADS, WORDS = 64, 96, 4, 2, 40
KEYS = HIDDEN // HEADS * KEY_HEADS

_TEXT = {
    "model_type": "qwen2",
    "vocab_size": WORDS,
    "hidden_size": HIDDEN,
    "intermediate_size": MIDDLE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KEY_HEADS,
    "max_position_embeddings": 4000,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 2,
}

TOY_SIZES: dict[str, dict[str, Any]] = {
    "qwen2-audio-7b": {
        "model_type": "qwen2_audio",
        "audio_token_index": 3,
        "audio_config": {
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": BINS,
            "encoder_layers": LAYERS,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": FFN,
            "d_model": WIDTH,
            "max_source_positions": POSITIONS,
        },
        "text_config": _TEXT,
    },
    "audio-flamingo-3": {
        "model_type": "audioflamingo3",
        "audio_token_id": 3,
        "audio_config": {
            "model_type": "audioflamingo3_encoder",
            "num_mel_bins": BINS,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 2,
            "intermediate_size": FFN,
            "hidden_size": WIDTH,
            "max_source_positions": POSITIONS,
        },
        "text_config": _TEXT,
    },
}

TEXT_LAYERS = 3
WHISPER: dict[str, Any] = {
    "model_type": "whisper",
    "num_mel_bins": BINS,
    "encoder_layers": LAYERS,
    "decoder_layers": TEXT_LAYERS,
    "d_model": WIDTH,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": FFN,
    "decoder_ffn_dim": FFN,
    "max_source_positions": POSITIONS,
    "max_target_positions": 40,
    "vocab_size": WORDS,
    "pad_token_id": 2,
    "bos_token_id": 2,
    "eos_token_id": 2,
    "decoder_start_token_id": 3,
    "begin_suppress_tokens": [2],
}
"""Of a model whose decoder attends to its encoder."""
