"""Attention received and to self the slow way: float64, one window and one head at a time, the full matrices."""

from __future__ import annotations

import torch
from torch import Tensor

REDUCTIONS = ("mean", "max", "peak")
ALL = (*REDUCTIONS, "self")


def matrices(
    query: Tensor, key: Tensor, heads: int, scale: float, spoilt: tuple[int, ...] = (), mute: tuple[int, ...] = ()
) -> Tensor:
    """``(heads, positions, positions)`` attention of one window without padding.

    Args:
        spoilt: keys that count as padding.
        mute: queries that count as padding.
    """
    positions, dim = query.shape
    size = dim // heads
    out = torch.zeros(heads, positions, positions, dtype=torch.float64)
    keys = [k for k in range(positions) if k not in spoilt]
    queries = [q for q in range(positions) if q not in mute]
    for head in range(heads):
        q = query[queries, head * size : (head + 1) * size].double()
        k = key[keys, head * size : (head + 1) * size].double()
        weights = torch.exp(scale * (q @ k.T) - (scale * (q @ k.T)).amax(1, keepdim=True)) if keys else q @ k.T
        for row, position in enumerate(queries):
            out[head, position, keys] = weights[row] / weights[row].sum()
    return out


def reduced(attention: Tensor, what: str) -> Tensor:
    """One of `ALL` for one window: ``(positions,)``, or ``(tokens,)`` to self, which leaves out a trailing position."""
    if what == "mean":
        return attention.sum(1).mean(0)
    if what == "max":
        return attention.sum(1).amax(0)
    if what == "peak":
        return attention.amax(0).sum(0)
    averaged = attention.mean(0)
    pairs = [averaged[2 * j : 2 * j + 2, 2 * j : 2 * j + 2] for j in range(len(averaged) // 2)]
    return torch.tensor([pair.sum().item() / 2 for pair in pairs], dtype=torch.float64)


def assert_right(
    out: Tensor, query: Tensor, key: Tensor, lengths: list[int], heads: int, scale: float, what: str
) -> None:
    """Every window equals the slow way, and everything beyond its end is zero."""
    assert out.dtype == torch.float32
    assert out.shape == (len(lengths), query.shape[1] // (2 if what == "self" else 1))
    for row, n in enumerate(lengths):
        expected = reduced(matrices(query[row, :n], key[row, :n], heads, scale), what)
        torch.testing.assert_close(out[row, : len(expected)].double(), expected, rtol=1e-5, atol=1e-6)
        assert out[row, n if what != "self" else (n + 1) // 2 :].eq(0).all()
