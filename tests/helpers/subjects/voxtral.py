"""Voxtral: several audios of several windows of 2 s, whose processor writes ids with a tiny vocabulary of bytes."""

from __future__ import annotations

import base64
import io
import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from transformers import VoxtralConfig, VoxtralForConditionalGeneration, VoxtralProcessor, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import sinusoids

from hf_tokcomp.testing import Subject, sound
from hf_tokcomp.testing.subject import RATE

from . import parts

SECONDS = 2
SPECIAL = 36
"""Special tokens, with those of audio at Voxtral's own ids."""
AUDIO, BEGIN, PAD = 24, 25, 11


@cache
def vocabulary(seconds: int) -> Path:
    """A file of mistral-common's with nothing but bytes and special tokens."""
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    names = {token["rank"]: str(token["token_str"].value) for token in Tekkenizer.DEPRECATED_SPECIAL_TOKENS}
    names |= {AUDIO: "[AUDIO]", BEGIN: "[BEGIN_AUDIO]", 34: "[TRANSCRIBE]"}
    special = [{"rank": i, "token_str": names.get(i, f"<SPECIAL_{i}>"), "is_control": True} for i in range(SPECIAL)]
    content = {
        "config": {
            "pattern": r"\S|\s",
            "num_vocab_tokens": 256,
            "default_vocab_size": 256 + SPECIAL,
            "default_num_special_tokens": SPECIAL,
            "version": "v7",
        },
        "vocab": [
            {"rank": i, "token_bytes": base64.b64encode(bytes([i])).decode(), "token_str": None} for i in range(256)
        ],
        "special_tokens": special,
        "audio": {
            "sampling_rate": RATE,
            "frame_rate": 12.5,
            "audio_encoding_config": {"num_mel_bins": 16, "hop_length": 160, "window_size": 400},
            "chunk_length_s": float(seconds),
        },
    }
    path = Path(mkdtemp()) / "tekken.json"
    path.write_text(json.dumps(content))
    return path


def processor(seconds: int = SECONDS) -> Any:
    pytest.importorskip("mistral_common", reason="the extra `voxtral` is not installed")
    from transformers.tokenization_mistral_common import MistralCommonBackend

    features = WhisperFeatureExtractor(feature_size=16, chunk_length=seconds)
    return VoxtralProcessor(features, MistralCommonBackend(str(vocabulary(seconds))))


def model(seconds: int = SECONDS, **text: Any) -> Any:
    torch.manual_seed(0)
    config = VoxtralConfig(
        audio_config={
            "model_type": "voxtral_encoder",
            "num_mel_bins": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "hidden_size": 16,
            "intermediate_size": 64,
            "max_source_positions": 50 * seconds,
        },
        text_config=parts.text_config(256 + SPECIAL, "llama", **{"head_dim": 8, **text}),
        audio_token_id=AUDIO,
    )
    built = parts.made_telling(VoxtralForConditionalGeneration(config), SPECIAL)
    built.generation_config.pad_token_id = PAD
    with torch.no_grad():  # as all checkpoints have them, of which mistral's own leave them out
        positions = built.model.audio_tower.embed_positions.weight
        positions.copy_(sinusoids(*positions.shape))
    return built


def inputs(of: Any, seconds: Any) -> dict[str, Any]:
    import soundfile

    conversations, seed = [], 0
    for row, own in enumerate(seconds):
        content = []
        for length in own:
            file = io.BytesIO()
            soundfile.write(file, sound(length, seed), RATE, format="wav")
            content.append({"type": "audio", "base64": base64.b64encode(file.getvalue()).decode()})
            seed += 1
        content.append({"type": "text", "text": "what is this"[: 4 + 4 * (row % 3)]})
        conversations.append([{"role": "user", "content": content}])
    options = {"pad_to_multiple_of": SECONDS * RATE, "max_source_positions": 100 * SECONDS}
    return dict(of.apply_chat_template(conversations, processor_kwargs=options))


SUBJECT = Subject(model, processor, inputs, window=float(SECONDS))
