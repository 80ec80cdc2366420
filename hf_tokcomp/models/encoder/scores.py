"""What methods ask of an encoder's last layer, read off its queries and keys."""

from __future__ import annotations

import torch
from torch import Tensor

from ...ops.attention import Reduction, attention_received, attention_to_self, keys_of_tokens, pool_positions
from ..base import EncodedWindows

RECEIVED: dict[str, Reduction] = {"attention": "mean", "attention_max": "max", "attention_peak": "peak"}
"""Fields with attention received, by what is made of the heads.

A token's value is the average of its positions. Under "peak" that is the sum over its keys of the average over as many
queries, too: the same share of a double sum either way.
"""
READ = frozenset({*RECEIVED, "attention_self", "keys"})
"""All that is read."""


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
) -> None:
    """Fill in what is asked for.

    Args:
        encoded: where it goes.
        needs: which of `READ`.
        query: ``(windows, positions, heads * head_dim)``, as it goes into the scores: rotated, where the layer rotates.
        key: ``(windows, positions, heads * head_dim)``; grouped heads are repeated.
        positions: ``(windows,)`` long, those with sound.
        heads: attention heads.
        scale: factor on the scores.
        per_token: positions that become a token.
        block: positions that attend to each other, where that is not the whole window; a multiple of ``per_token``.
    """
    windows, width = query.shape[:2]
    asked = needs & {*RECEIVED, "attention_self"}
    if "keys" in needs:
        encoded.keys = keys_of_tokens(key, heads, per_token)
    if not asked:
        return
    if block is not None:
        query, key, positions = _blocks(query, block), _blocks(key, block), _in_blocks(positions, width, block)

    def of_windows(values: Tensor, per: int) -> Tensor:
        return values.reshape(windows, -1)[:, : width // per]

    for name in sorted(asked & RECEIVED.keys()):
        received = attention_received(query, key, positions, heads=heads, scale=scale, reduction=RECEIVED[name])
        setattr(encoded, name, pool_positions(of_windows(received, 1), per_token))
    if "attention_self" in asked:
        own = attention_to_self(query, key, positions, heads=heads, scale=scale, per_token=per_token)
        encoded.attention_self = of_windows(own, per_token)


def _blocks(states: Tensor, block: int) -> Tensor:
    """``(windows, positions, dim)`` to ``(windows * blocks, block, dim)``, padded with 0."""
    missing = -states.shape[1] % block
    return torch.nn.functional.pad(states, (0, 0, 0, missing)).reshape(-1, block, states.shape[2])


def _in_blocks(positions: Tensor, width: int, block: int) -> Tensor:
    """``(windows,)`` valid positions to those of each block ``(windows * blocks,)``; more than it has are all of it."""
    before = torch.arange(0, width, block, device=positions.device)
    return (positions[:, None] - before).clamp(min=0).flatten()
