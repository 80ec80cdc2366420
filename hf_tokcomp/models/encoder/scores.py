"""Scores that methods need from an encoder's last layer, computed from its queries and keys."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...ops.attention import Reduction, attention_received, attention_to_self, keys_of_tokens, pool_positions
from ..base import EncodedWindows

RECEIVED: dict[str, Reduction] = {"attention": "mean", "attention_max": "max", "attention_peak": "peak"}
"""Fields with attention received, and how each reduces the heads.

A token's value is the average over its positions. For "peak" this equals the sum over its keys of the average over as
many queries: the same fraction of a double sum either way.
"""
READ = frozenset({*RECEIVED, "attention_self", "keys"})
"""All fields that are computed here."""


def add_scores(
    encoded: EncodedWindows,
    needs: frozenset[str],
    query: Tensor,
    key: Tensor,
    positions: Tensor,
    *,
    heads: int,
    scale: float,
    per_token: int = 2,
    block: int | None = None,
    seen: Tensor | None = None,
) -> None:
    """Fill in the requested scores.

    Args:
        encoded: where the scores are stored.
        needs: which of `READ` to compute.
        query: ``(windows, positions, heads * head_dim)``, as it enters the scores: rotated if the layer rotates it.
        key: ``(windows, positions, heads * head_dim)``; grouped heads are repeated.
        positions: ``(windows,)`` long, number of positions with sound.
        heads: number of attention heads.
        scale: factor on the scores.
        per_token: number of positions that become a token.
        block: number of positions that attend to each other, a multiple of ``per_token``; None for the whole window.
        seen: ``(windows,)`` long, number of positions attended to, if the encoder does not mask its padding.
    """
    windows, width = query.shape[:2]
    asked = needs & {*RECEIVED, "attention_self"}
    if "keys" in needs:
        encoded.keys = keys_of_tokens(key, heads, per_token)
    if not asked:
        return
    if block is not None:
        query, key, positions = _blocks(query, block), _blocks(key, block), _in_blocks(positions, width, block)
        seen = None if seen is None else _in_blocks(seen, width, block)
    how: dict[str, Any] = {"heads": heads, "scale": scale, "seen": seen}

    def of_windows(values: Tensor, per: int) -> Tensor:
        return values.reshape(windows, -1)[:, : width // per]

    for name in sorted(asked & RECEIVED.keys()):
        received = attention_received(query, key, positions, reduction=RECEIVED[name], **how)
        setattr(encoded, name, pool_positions(of_windows(received, 1), per_token))
    if "attention_self" in asked:
        own = attention_to_self(query, key, positions, per_token=per_token, **how)
        encoded.attention_self = of_windows(own, per_token)


def _blocks(states: Tensor, block: int) -> Tensor:
    """Split ``(windows, positions, dim)`` into ``(windows * blocks, block, dim)``, padded with 0."""
    missing = -states.shape[1] % block
    return torch.nn.functional.pad(states, (0, 0, 0, missing)).reshape(-1, block, states.shape[2])


def _in_blocks(positions: Tensor, width: int, block: int) -> Tensor:
    """Valid positions ``(windows,)`` to those from each block on ``(windows * blocks,)``; may exceed the block size."""
    before = torch.arange(0, width, block, device=positions.device)
    return (positions[:, None] - before).clamp(min=0).flatten()
