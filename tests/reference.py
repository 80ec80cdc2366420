"""What a patched model should do, written out by hand for one prompt, on the unpatched model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import hf_tokcomp
from hf_tokcomp.attention import attention_received, pool_pairs


def encode(model: Any, kind: str, inputs: Any) -> tuple[Tensor, Tensor]:
    """Features ``(tokens, dim)`` and attention received ``(tokens,)`` of the one audio in these inputs."""
    mask = inputs["feature_attention_mask" if kind == "qwen2_audio" else "input_features_mask"]
    features, scores = [], []
    for window, frames in zip(inputs["input_features"], mask.sum(-1).tolist(), strict=True):
        positions = (frames - 1) // 2 + 1
        tokens = max(0, (positions - 2) // 2 + 1)
        states, received = _encode_window(model, kind, window[None], frames, positions)
        features.append(states[0, :tokens])
        scores.append(pool_pairs(received)[0, :tokens])
    return torch.cat(features), torch.cat(scores)


def _encode_window(model: Any, kind: str, window: Tensor, frames: int, positions: int) -> tuple[Tensor, Tensor]:
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
    received = attention_received(
        seen["q"], seen["k"], torch.tensor([positions]), heads=layer.num_heads, scale=layer.head_dim**-0.5
    )
    return states, received


def embeds_and_positions(
    model: Any, kind: str, inputs: Any, config: hf_tokcomp.CompressionConfig
) -> tuple[Tensor, Tensor, int]:
    """The short prompt of one row: embeddings ``(1, short, hidden)``, position ids, and the next position."""
    features, scores = encode(model, kind, inputs)
    tokens = hf_tokcomp.AudioTokens(features[None], torch.tensor([len(features)]), attention=scores[None])
    audio = hf_tokcomp.AudioTokenCompressor.from_config(config)(tokens)
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
