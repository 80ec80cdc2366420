"""What a patched model should do, written out by hand for one prompt, on the unpatched model."""

from __future__ import annotations

import math
from typing import Any

import drawn
import torch
from torch import Tensor

import hf_tokcomp
from hf_tokcomp.ops.audio_tokens import FirstLayer


def encode(model: Any, kind: str, inputs: Any) -> hf_tokcomp.AudioTokens:
    """Everything a method may look at, of the one audio in these inputs."""
    mask = inputs["feature_attention_mask" if kind == "qwen2_audio" else "input_features_mask"]
    windows: dict[str, list[Tensor]] = {}
    for window, frames in zip(inputs["input_features"], mask.sum(-1).tolist(), strict=True):
        positions = (frames - 1) // 2 + 1
        tokens = max(0, (positions - 2) // 2 + 1)
        for name, value in _encode_window(model, kind, window[None], frames, positions).items():
            windows.setdefault(name, []).append(value[:tokens])
    fields = {name: torch.cat(values)[None] for name, values in windows.items()}
    text = inputs["input_ids"][0]
    text = text[(text != model.config.audio_token_id) & (text != 0) & (text != 2)]  # the placeholder, padding, the end
    layer = model.model.language_model.layers[0].self_attn
    return hf_tokcomp.AudioTokens(
        lengths=torch.tensor([fields["features"].shape[1]]),
        frame_rate=25.0,
        projected=model.model.multi_modal_projector(fields["features"]),
        query=model.get_input_embeddings()(text)[None],
        first_layer=FirstLayer(layer.q_proj.weight, layer.k_proj.weight, heads=4, key_heads=2),
        **fields,
    )


def _encode_window(model: Any, kind: str, window: Tensor, frames: int, positions: int) -> dict[str, Tensor]:
    tower = model.model.audio_tower
    layer = tower.layers[-1].self_attn
    seen: dict[str, Tensor] = {}
    hooks = [
        layer.q_proj.register_forward_hook(lambda m, i, o: seen.__setitem__("q", o)),
        layer.k_proj.register_forward_hook(lambda m, i, o: seen.__setitem__("k", o)),
    ]
    if kind == "qwen2_audio":
        width = window.shape[-1] // 2
        valid = torch.arange(width) < positions
        bias = torch.zeros(1, 1, width, width).masked_fill(~valid, torch.finfo(torch.float32).min)
        states = tower(window, attention_mask=bias).last_hidden_state
    else:
        mask = (torch.arange(window.shape[-1]) < frames)[None].long()
        states = tower(window, input_features_mask=mask, return_dict=True).last_hidden_state
    for hook in hooks:
        hook.remove()
    query, key = (seen[name][0, :positions].unflatten(-1, (layer.num_heads, -1)) for name in "qk")
    # The whole matrix (heads, queries, keys), as eager attention would make it.
    attention = (torch.einsum("qhd,khd->hqk", query, key) * layer.head_dim**-0.5).softmax(-1)
    pairs = [(2 * j, 2 * j + 1) for j in range(positions // 2)]
    sums, peak, mean = attention.sum(1), attention.amax(0).sum(0), attention.mean(0)
    return {
        "features": states[0],
        "attention": torch.stack([sums.mean(0)[list(pair)].mean() for pair in pairs]) if pairs else sums.new_zeros(0),
        "attention_max": torch.stack([sums.amax(0)[list(p)].mean() for p in pairs]) if pairs else sums.new_zeros(0),
        "attention_peak": torch.stack([peak[list(p)].sum() / 2 for p in pairs]) if pairs else sums.new_zeros(0),
        "attention_self": torch.stack([mean[a : b + 1, a : b + 1].sum() / 2 for a, b in pairs])
        if pairs
        else sums.new_zeros(0),
        "keys": torch.stack([key[list(p)].mean((0, 1)) for p in pairs]) if pairs else key.new_zeros(0, key.shape[-1]),
    }


def alone(kind: str, batch: Any, seconds: list[float]) -> list[dict[str, Tensor]]:
    """Each row of a batch of `tiny.inputs` as a batch of its own, without padding."""
    rows, first = [], 0
    mask_name = "feature_attention_mask" if kind == "qwen2_audio" else "input_features_mask"
    for i, length in enumerate(seconds):
        valid = batch["attention_mask"][i].bool()
        number = 1 if kind == "qwen2_audio" else max(1, math.ceil(length))
        windows = slice(first, first + number)
        first += number
        rows.append(
            {
                "input_ids": batch["input_ids"][i][valid][None],
                "attention_mask": torch.ones(1, int(valid.sum()), dtype=torch.long),
                "input_features": batch["input_features"][windows],
                mask_name: batch[mask_name][windows],
            }
        )
    return rows


def embeds_and_positions(
    model: Any, kind: str, inputs: Any, config: hf_tokcomp.CompressionConfig
) -> tuple[Tensor, Tensor, int]:
    """The short prompt of one row: embeddings ``(1, short, hidden)``, position ids, and the next position."""
    tokens = encode(model, kind, inputs)
    compressor = hf_tokcomp.AudioTokenCompressor.from_config(config, tokens.features.shape[-1])
    audio = drawn.trained(compressor)(tokens)
    projected = model.model.multi_modal_projector(audio.features)[0]
    embed = model.get_input_embeddings()
    rows, positions, number = [], [], 0
    place = {int(p): slot for slot, p in enumerate(audio.positions[0])}
    valid = inputs["attention_mask"][0].bool()
    for column, token in enumerate(inputs["input_ids"][0][valid].tolist()):
        if token == model.config.audio_token_id:
            slot = place.get(number)
            number += 1
            if slot is None:
                continue
            rows.append(projected[slot])
        else:
            rows.append(embed(torch.tensor(token)))
        positions.append(column)
    following = int(valid.sum())
    if config.positions == "contiguous":
        positions = list(range(len(rows)))
        following = len(rows)
    return torch.stack(rows)[None], torch.tensor([positions]), following


def greedy(
    model: Any, kind: str, inputs: Any, config: hf_tokcomp.CompressionConfig, new: int
) -> tuple[Tensor, list[int]]:
    """Prompt logits ``(short, vocabulary)`` and greedy tokens, without a cache and without `generate`."""
    embeds, positions, following = embeds_and_positions(model, kind, inputs, config)
    first, out = None, []
    for _ in range(new):
        # A mask of ones: without one, upstream takes jumps in the positions for packed sequences.
        mask = torch.ones_like(positions)
        logits = model(inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False).logits[0]
        first = logits if first is None else first
        out.append(int(logits[-1].argmax()))
        embeds = torch.cat([embeds, model.get_input_embeddings()(torch.tensor([[out[-1]]]))], 1)
        positions = torch.cat([positions, torch.tensor([[following]])], 1)
        following += 1
    return first, out
