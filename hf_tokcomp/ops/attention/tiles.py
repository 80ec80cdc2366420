"""Attention in PyTorch, on any device: one tile of softmax weights after the other, never the whole matrix.

A window and a few heads are processed at a time, so a window's result does not depend on the rest of the batch. On a
CPU the time goes into passes over memory: the mask of the keys is the bias of the matrix product, and the sum over
queries is a product with their validity, so a tile is written twice and read twice. All tiles reuse the same
memory, with the softmax written over its own scores, since allocating costs more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CACHED = 1 << 19
"""Scores held at once on a CPU: 2 MiB, which fits its cache (32 MiB take nearly twice as long)."""
LARGE = 1 << 25
"""Scores held at once elsewhere: 128 MiB, so that few kernels are launched."""


def received(
    query: Tensor,
    key: Tensor,
    query_usable: Tensor,
    key_usable: Tensor,
    *,
    heads: int,
    scale: float,
    reduction: str,
    block: int | None = None,
) -> Tensor:
    """`attention.attention_received`, given which queries and keys count, ``(windows, positions)`` bool."""
    out = query.new_zeros(query.shape[:2], dtype=torch.float32)
    tile = _memory_of_a_tile(query, heads, block)
    for window, keys in enumerate(key_usable):
        parts = query[window], key[window], query_usable[window], keys
        sums = _summed_peaks if reduction == "peak" else _summed_by_head
        total = sums(*parts, heads, scale, tile)
        out[window] = total.amax(0) if reduction == "max" else total.mean(0)
    # Masked, not multiplied: the softmax of a window without keys is NaN.
    return out.masked_fill_(~key_usable, 0)


def to_self(
    query: Tensor,
    key: Tensor,
    query_usable: Tensor,
    key_usable: Tensor,
    *,
    heads: int,
    scale: float,
    per_token: int = 2,
    block: int | None = None,
) -> Tensor:
    """`attention.attention_to_self`, given which queries and keys count."""
    windows, positions, _ = query.shape
    whole = positions // per_token * per_token
    out = query.new_zeros(windows, whole // per_token, dtype=torch.float32)
    place = torch.arange(whole, device=query.device)
    own = torch.stack([place - place % per_token + i for i in range(per_token)], 1)
    tile = _memory_of_a_tile(query, heads, block)
    for window, keys in enumerate(key_usable):
        at = query.new_zeros(whole, dtype=torch.float32)
        parts = query[window], key[window], query_usable[window], keys
        for start, _, weights in _tiles(*parts, heads, scale, tile):
            rows = own[start : start + weights.shape[1]]
            taken = weights[:, : len(rows)].gather(2, rows.expand(len(weights), -1, -1))
            at[start : start + len(rows)] += taken.sum((0, 2)) / heads
        usable = query_usable[window, :whole] & keys.any()
        out[window] = at.masked_fill_(~usable, 0).view(-1, per_token).sum(1) / per_token
    return out


def _summed_by_head(
    query: Tensor, key: Tensor, query_usable: Tensor, key_usable: Tensor, heads: int, scale: float, tile: Tensor
) -> Tensor:
    """``(heads, positions)``: the sum of each head's attention over the queries of one window."""
    out = query.new_zeros(heads, len(key), dtype=torch.float32)
    counts = query_usable.float()
    for start, head, weights in _tiles(query, key, query_usable, key_usable, heads, scale, tile):
        together, rows, _ = weights.shape
        out[head : head + together] += counts[start : start + rows] @ weights
    return out


def _summed_peaks(
    query: Tensor, key: Tensor, query_usable: Tensor, key_usable: Tensor, heads: int, scale: float, tile: Tensor
) -> Tensor:
    """``(1, positions)``: the sum over the queries of one window of the largest attention of any head."""
    largest = out = query.new_zeros(1, len(key), dtype=torch.float32)
    counts = query_usable.float()
    for start, head, weights in _tiles(query, key, query_usable, key_usable, heads, scale, tile):
        among = weights.amax(0)
        largest = torch.maximum(largest, among, out=largest) if head else among
        if head + len(weights) == heads:
            out += counts[start : start + len(largest)] @ largest
    return out


def _tiles(
    query: Tensor, key: Tensor, query_usable: Tensor, key_usable: Tensor, heads: int, scale: float, tile: Tensor
) -> Iterator[tuple[int, int, Tensor]]:
    """First query, first head, and the attention ``(some heads, some queries, positions)`` of one window.

    All heads of some queries come before the next queries. A query that does not count attends to all keys equally. The
    next tile overwrites the yielded one.
    """
    positions, dim = query.shape
    together, rows, _ = tile.shape
    # Masked entries may be NaN, and 0 * NaN is NaN, so they are overwritten. Views from here on, no transposed copy.
    query = query.float().masked_fill(~query_usable[:, None], 0).mul_(scale).view(positions, heads, dim // heads)
    key = key.float().masked_fill(~key_usable[:, None], 0).view(positions, heads, dim // heads)
    query, key = query.transpose(0, 1), key.permute(1, 2, 0)
    bias = query.new_zeros(positions).masked_fill_(~key_usable, -torch.inf)
    in_place = tile.device.type == "cpu"  # where it is known to read a row before writing it
    for start in range(0, positions, rows):
        for head in range(0, heads, together):
            part = query[head : head + together, start : start + rows]
            scores = tile[: part.shape[0], : part.shape[1]]
            mask = bias.expand(*part.shape[:2], positions)
            torch.baddbmm(mask, part, key[head : head + together], out=scores)
            yield start, head, torch.softmax(scores, -1, out=scores if in_place else None)


def _memory_of_a_tile(query: Tensor, heads: int, block: int | None) -> Tensor:
    """``(some heads, some queries, positions)`` for queries ``(windows, positions, dim)``, ``block`` scores at most."""
    positions = query.shape[1]
    block = block or (CACHED if query.device.type == "cpu" else LARGE)
    rows = max(1, min(positions, block // max(1, positions)))
    together = max(1, min(heads, block // max(1, rows * positions)))
    return query.new_empty(together, rows, positions, dtype=torch.float32)
