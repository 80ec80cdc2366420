"""Writes a Whisper as CTranslate2 stores it: its names, projections of one input joined, float16."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

TYPES = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}


def whisper_arrays(model: Any) -> dict[str, np.ndarray]:
    """The tensors and settings of a `WhisperForConditionalGeneration` under CTranslate2's names."""
    arrays: dict[str, np.ndarray] = {}
    for side, stack in (("encoder", model.model.encoder), ("decoder", model.model.decoder)):
        arrays[f"{side}/num_heads"] = np.array(stack.layers[0].self_attn.num_heads, "int16")
        arrays[f"{side}/position_encodings/encodings"] = _half(stack.embed_positions.weight)
        _put(arrays, f"{side}/layer_norm", stack.layer_norm)
        for number, layer in enumerate(stack.layers):
            at, own = f"{side}/layer_{number}", layer.self_attn
            _put(arrays, f"{at}/self_attention/layer_norm", layer.self_attn_layer_norm)
            _put(arrays, f"{at}/self_attention/linear_0", own.q_proj, own.k_proj, own.v_proj)
            _put(arrays, f"{at}/self_attention/linear_1", own.out_proj)
            if side == "decoder":
                cross = layer.encoder_attn
                _put(arrays, f"{at}/attention/layer_norm", layer.encoder_attn_layer_norm)
                _put(arrays, f"{at}/attention/linear_0", cross.q_proj)
                _put(arrays, f"{at}/attention/linear_1", cross.k_proj, cross.v_proj)
                _put(arrays, f"{at}/attention/linear_2", cross.out_proj)
            _put(arrays, f"{at}/ffn/layer_norm", layer.final_layer_norm)
            _put(arrays, f"{at}/ffn/linear_0", layer.fc1)
            _put(arrays, f"{at}/ffn/linear_1", layer.fc2)
    for name in ("conv1", "conv2"):
        _put(arrays, f"encoder/{name}", getattr(model.model.encoder, name))
    arrays["decoder/embeddings/weight"] = _half(model.model.decoder.embed_tokens.weight)
    flags = {"activation": 3, "alibi": 0, "pre_norm": 1, "scale_embeddings": 0, "start_from_zero_embedding": 0}
    return arrays | {f"decoder/{name}": np.array(value, "int8") for name, value in flags.items()}


def file_of(arrays: Mapping[str, np.ndarray], version: int = 6, specification: str = "WhisperSpec") -> bytes:
    """The bytes of model.bin; the output's projection is an alias of the embeddings."""
    pieces = [struct.pack("<I", version), _string(specification), struct.pack("<II", 3, len(arrays))]
    for name, array in sorted(arrays.items()):
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        pieces += [_string(name), shape, struct.pack("<BI", TYPES[str(array.dtype)], array.nbytes), array.tobytes()]
    pieces += [struct.pack("<I", 1), _string("decoder/projection/weight"), _string("decoder/embeddings/weight")]
    return b"".join(pieces)


def _put(arrays: dict[str, np.ndarray], name: str, *modules: torch.nn.Module) -> None:
    leaves = ("gamma", "beta") if isinstance(modules[0], torch.nn.LayerNorm) else ("weight", "bias")
    # Keys have no bias in transformers, and CTranslate2 stores zeros for them.
    biases = [torch.zeros(len(each.weight)) if each.bias is None else each.bias for each in modules]
    arrays[f"{name}/{leaves[0]}"] = _half(torch.cat([each.weight for each in modules]))
    arrays[f"{name}/{leaves[1]}"] = _half(torch.cat(biases))


def _half(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().half().numpy()


def _string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"
