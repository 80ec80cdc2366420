"""A small model with random weights whose encoder and language model share the work of 30 s as Qwen2-Audio's do.

``python tests/helpers/heavy.py FOLDER`` writes it as a checkpoint: docs/serving.md measures it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tiny
import torch

from hf_tokcomp.benchmarks.speed.architectures import build, config_of

HEAVY: dict[str, Any] = {
    "model_type": "qwen2_audio",
    "audio_token_index": 3,
    "audio_config": {
        "model_type": "qwen2_audio_encoder",
        "num_mel_bins": 16,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 1024,
        "d_model": 256,
        "max_source_positions": 1500,
    },
    "text_config": {
        "model_type": "qwen2",
        "vocab_size": 21,
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 3,
        "num_key_value_heads": 3,
        "max_position_embeddings": 4096,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 2,
    },
}


def save(folder: Path) -> Path:
    """Write the model and its processor."""
    model = build(config_of(HEAVY), torch.device("cpu"), torch.float32)
    model.save_pretrained(folder)
    tiny.processor("qwen2_audio", 30).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    print(save(Path(sys.argv[1])))
