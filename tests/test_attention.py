"""Attention received equals the textbook: full matrices, one head at a time, in float64; and holds no such matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hf_tokcomp.attention import attention_received

HEADS, DIM = 3, 12
LENGTHS = [17, 0, 1, 9, 12]
SCALE = (DIM // HEADS) ** -0.5


def states(positions: int = 17, padding: float = 0.0, dtype: Any = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys of a ragged batch of windows, and their lengths."""
    generator = torch.Generator().manual_seed(0)
    query, key = (2 * torch.randn(len(LENGTHS), positions, DIM, generator=generator) for _ in range(2))
    for row, n in enumerate(LENGTHS):
        query[row, n:], key[row, n:] = padding, padding
    return query.to(dtype), key.to(dtype), torch.tensor(LENGTHS)


def received(block: int | None = None, **options: Any) -> Tensor:
    query, key, lengths = states(**options)
    more = {} if block is None else {"block": block}
    return attention_received(query, key, lengths, heads=HEADS, scale=SCALE, **more)


def naive(query: Tensor, key: Tensor, n: int, scale: float = SCALE) -> list[float]:
    """One window: softmax(q k) per head over the valid keys, summed over valid queries, averaged over heads."""
    size = DIM // HEADS
    total = np.zeros(n)
    for head in range(HEADS):
        q = query[:n, head * size : (head + 1) * size].double().numpy()
        k = key[:n, head * size : (head + 1) * size].double().numpy()
        for i in range(n):
            exponentials = [math.exp(scale * float(q[i] @ k[j])) for j in range(n)]
            total += np.array(exponentials) / sum(exponentials) / HEADS
    return total.tolist()


@pytest.mark.parametrize("block", [None, 1, 7, 300, 10**9])
def test_equals_the_full_matrix(block: int | None) -> None:
    query, key, _ = states()
    out = received(block)
    assert out.dtype == torch.float32
    assert out.shape == (len(LENGTHS), 17)
    for row, n in enumerate(LENGTHS):
        assert out[row, :n].tolist() == pytest.approx(naive(query[row], key[row], n), rel=1e-5)
        assert out[row, n:].eq(0).all()


def test_the_scale_is_used() -> None:
    query, key, lengths = states()
    out = attention_received(query, key, lengths, heads=HEADS, scale=0.1)
    assert out[0].tolist() == pytest.approx(naive(query[0], key[0], 17, scale=0.1), rel=1e-5)


@pytest.mark.parametrize("block", [1, 10**9])
def test_its_mean_over_a_window_is_one(block: int) -> None:
    out = received(block)
    for row, n in enumerate(LENGTHS):
        assert out[row].sum().item() == pytest.approx(n, rel=1e-5)


@pytest.mark.parametrize("padding", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("block", [1, 10**9])
def test_padding_does_not_matter(padding: float, block: int) -> None:
    clean = received(block)
    assert torch.equal(received(block, padding=padding), clean)
    wider = states(positions=23, padding=padding)  # another draw, whose first windows are longer
    assert attention_received(*wider, heads=HEADS, scale=SCALE, block=block)[:, 17:].eq(0).all()


def test_a_window_equals_itself_alone() -> None:
    query, key, _ = states(padding=5.0)
    out = received(padding=5.0)
    for row, n in enumerate(LENGTHS):
        alone = attention_received(
            query[row : row + 1, :n], key[row : row + 1, :n], torch.tensor([n]), heads=HEADS, scale=SCALE
        )
        torch.testing.assert_close(alone[0], out[row, :n])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_scored_in_float32(dtype: torch.dtype) -> None:
    query, key, _ = states(dtype=dtype)
    out = received(dtype=dtype)
    assert out.dtype == torch.float32
    # Held against the rounded states, not the exact ones: nothing is lost after the projection.
    assert out[0].tolist() == pytest.approx(naive(query[0], key[0], 17), rel=1e-5)


def test_large_scores_do_not_overflow() -> None:
    query, key, lengths = states()
    out = attention_received(100 * query, 100 * key, lengths, heads=HEADS, scale=SCALE)
    assert out.isfinite().all()
    assert out[0].sum().item() == pytest.approx(17, rel=1e-5)


class Largest(TorchDispatchMode):
    """The largest tensor that any operation returns, in entries."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, Tensor):
                self.entries = max(self.entries, tensor.numel())
                self.operations += 1
        return out


@pytest.mark.parametrize("queries_at_once", [1, 6])
def test_never_holds_a_matrix_for_all_heads(queries_at_once: int) -> None:
    windows, positions, heads, dim = 2, 80, 4, 16
    query, key = torch.randn(windows, positions, dim), torch.randn(windows, positions, dim)
    block = windows * heads * positions * queries_at_once
    with Largest() as largest:
        attention_received(query, key, torch.tensor([80, 50]), heads=heads, scale=1.0, block=block)
    assert largest.operations >= positions // queries_at_once, "the operations were not seen"
    assert largest.entries <= max(block, query.numel()) < windows * positions * positions
