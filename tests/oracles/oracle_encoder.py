"""The slow version of the encoder under its options: one window, one position and one head at a time.

Written from the definition in docs/methods.md. A merged position is there as often as it has members, instead of having
the logarithm of its size added to its scores.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from oracle_merging import first_largest
from oracles import cosine
from torch import Tensor, nn


def encode(tower: Any, window: Tensor, frames: int, stride: int, merge: float) -> dict[str, Tensor]:
    """Tokens of a window ``(mel bins, frames)`` and what a method may ask for beside, each ``(tokens, ...)``."""
    states = nn.functional.gelu(tower.conv2(nn.functional.gelu(tower.conv1(window[None]))))[0].T
    states = states + tower.embed_positions.weight[: len(states)]
    valid = math.ceil(frames / 2)
    tokens = valid // 2
    if stride == 2:
        states = torch.stack([(states[2 * i] + states[2 * i + 1]) / 2 for i in range(tokens)] or [states[0]])
        valid = tokens
    groups = [[i] for i in range(valid)]  # the original positions in each of those left
    states = states[:valid]
    query = key = states
    rounds = len(tower.layers) - 1
    for number, layer in enumerate(tower.layers):
        states, query, key = _layer(layer, states, [len(group) for group in groups])
        if merge and number < rounds:
            target = valid - math.floor(valid * merge + 0.5) * (number + 1) // rounds
            states, groups = _merged(states, _by_head(layer, key).mean(1), groups, target)
    found = {i: slot for slot, group in enumerate(groups) for i in group}
    order = torch.tensor([found[i // stride] for i in range(valid * stride)], dtype=torch.long)
    parts = [(2 * i, 2 * i + 1) for i in range(tokens)]
    states, query, key = states[order], query[order], key[order]
    means = [states[list(pair)].mean(0) for pair in parts]
    attention = layer.self_attn
    q, k = _by_head(layer, query), _by_head(layer, key)
    weights = (torch.einsum("qhd,khd->hqk", q, k) * attention.head_dim**-0.5).softmax(-1)
    sums, peak, mean = weights.sum(1), weights.amax(0).sum(0), weights.mean(0)
    return {
        "features": tower.layer_norm(_stacked(means, states.shape[1])),
        "attention": _stacked([sums.mean(0)[list(pair)].mean() for pair in parts]),
        "attention_max": _stacked([sums.amax(0)[list(pair)].mean() for pair in parts]),
        "attention_peak": _stacked([peak[list(pair)].mean() for pair in parts]),
        "attention_self": _stacked([mean[a : b + 1, a : b + 1].sum() / 2 for a, b in parts]),
        "keys": _stacked([k[list(pair)].mean((0, 1)) for pair in parts], k.shape[2]),
    }


def _stacked(values: list[Tensor], *shape: int) -> Tensor:
    return torch.stack(values) if values else torch.zeros(0, *shape)


def _by_head(layer: Any, states: Tensor) -> Tensor:
    return states.unflatten(-1, (layer.self_attn.num_heads, -1))


def _layer(layer: Any, states: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The states behind a layer, and its queries and keys."""
    attention = layer.self_attn
    inner = layer.self_attn_layer_norm(states)
    query, key, value = attention.q_proj(inner), attention.k_proj(inner), attention.v_proj(inner)
    times = torch.tensor([i for i, size in enumerate(sizes) for _ in range(size)], dtype=torch.long)
    heads = []
    for head in range(attention.num_heads):
        part = slice(head * attention.head_dim, (head + 1) * attention.head_dim)
        scores = query[:, part] @ key[times][:, part].T * attention.head_dim**-0.5
        heads.append(scores.softmax(-1) @ value[times][:, part])
    states = states + attention.out_proj(torch.cat(heads, -1))
    return states + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(states)))), query, key


def _merged(states: Tensor, keys: Tensor, groups: list[list[int]], target: int) -> tuple[Tensor, list[list[int]]]:
    count = min(len(groups) - target, len(groups) // 2)
    vectors = keys.double().numpy()
    edges = []
    for a in range(0, len(groups), 2):
        others = range(1, len(groups), 2)
        cosines = [cosine(vectors[a], vectors[b]) for b in others]
        if cosines:
            edges.append((a, others[first_largest(cosines)], max(cosines)))
    joined: dict[int, list[int]] = {i: [i] for i in range(len(groups))}
    for _ in range(count):
        a, b, _ = edges.pop(first_largest([c for _, _, c in edges]))
        joined[b] += joined.pop(a)
    found, left = [], []
    for members in joined.values():
        sizes = [len(groups[i]) for i in members]
        total = sum(states[i] * size for i, size in zip(members, sizes, strict=True))
        found.append(total / sum(sizes))
        left.append([place for i in members for place in groups[i]])
    return torch.stack(found) if found else states, left
