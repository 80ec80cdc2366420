"""A Voxtral as mistral publishes it: `params.json`, `consolidated.safetensors`, `tekken.json`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

ENCODER = "mm_whisper_embeddings."
NAMES = {
    r"^model\.audio_tower\.conv1": ENCODER + "whisper_encoder.conv_layers.0",
    r"^model\.audio_tower\.conv2": ENCODER + "whisper_encoder.conv_layers.1",
    r"^model\.audio_tower\.layer_norm": ENCODER + "whisper_encoder.transformer.norm",
    r"^model\.audio_tower\.layers": ENCODER + "whisper_encoder.transformer.layers",
    r"^model\.multi_modal_projector\.linear_1": ENCODER + "audio_language_projection.0",
    r"^model\.multi_modal_projector\.linear_2": ENCODER + "audio_language_projection.2",
    r"^model\.language_model\.embed_tokens": ENCODER + "tok_embeddings",
    r"^model\.language_model\.": "",
    r"^lm_head": "output",
    r"self_attn_layer_norm|input_layernorm": "attention_norm",
    r"final_layer_norm|post_attention_layernorm": "ffn_norm",
    r"self_attn\.([qkv])_proj": r"attention.w\1",
    r"self_attn\.(out|o)_proj": "attention.wo",
    r"\.fc([12])": r".feed_forward.w\1",
    r"mlp\.gate_proj": "feed_forward.w1",
    r"mlp\.down_proj": "feed_forward.w2",
    r"mlp\.up_proj": "feed_forward.w3",
}
"""From the names of a model's weights in transformers to mistral's."""


def as_mistral(model: Any, vocabulary: Path, folder: Path) -> Path:
    """Write a Voxtral, whose tower has sinusoids for positions, into a folder."""
    text, audio = model.config.text_config, model.config.audio_config
    encoder = {
        "audio_encoding_args": {
            "sampling_rate": 16000,
            "num_mel_bins": audio.num_mel_bins,
            "hop_length": 160,
            "window_size": 400,
        },
        "dim": audio.hidden_size,
        "n_layers": audio.num_hidden_layers,
        "head_dim": audio.hidden_size // audio.num_attention_heads,
        "hidden_dim": audio.intermediate_size,
        "n_heads": audio.num_attention_heads,
        "vocab_size": audio.vocab_size,
        "max_source_positions": audio.max_source_positions,
    }
    params = {
        "dim": text.hidden_size,
        "n_layers": text.num_hidden_layers,
        "head_dim": text.head_dim,
        "hidden_dim": text.intermediate_size,
        "n_heads": text.num_attention_heads,
        "n_kv_heads": text.num_key_value_heads,
        "rope_theta": text.rope_parameters["rope_theta"],
        "norm_eps": text.rms_norm_eps,
        "vocab_size": text.vocab_size,
        "max_position_embeddings": text.max_position_embeddings,
        "multimodal": {
            "whisper_model_args": {"encoder_args": encoder, "downsample_args": {"downsample_factor": 4}},
        },
    }
    heads = {"wq": text.num_attention_heads, "wk": text.num_key_value_heads}
    weights = {}
    for name, weight in model.state_dict().items():
        if "embed_positions" in name:
            continue
        new = name
        for pattern, replacement in NAMES.items():
            new = re.sub(pattern, replacement, new)
        kind = new.split(".")[-2]
        if kind in heads and not new.startswith(ENCODER):
            # Mistral turns neighbours where transformers turns halves.
            weight = weight.view(heads[kind], 2, -1, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)
        weights[new] = weight.contiguous()
    folder.mkdir(exist_ok=True)
    shutil.copy(vocabulary, folder / "tekken.json")
    (folder / "params.json").write_text(json.dumps(params))
    save_file(weights, folder / "consolidated.safetensors")
    return folder
