"""Attention received as fused Triton kernels for GPUs: no score is ever written to memory.

Two passes over the scores: the log-sum-exp of every query's row, then for every key the sum over the queries. A
program owns some positions of one side and loops over the other side, so there are no atomic additions and every run
gives the same bits. Memory beside the result: one float32 per head and position, and `SPLITS` per position for "peak".

Tiles: a program owns 128 positions and takes 64 of the other side at a time. With 64 entries per head in half
precision these are FlashAttention's tiles on A100 and H100 class GPUs: 4 warps hold the 128 x 64 scores in 64
registers per thread and feed the tensor cores in shapes they have; three stages of loads take 40 KiB of shared memory.
1500 positions and 20 heads make 240 programs per window, enough for 132 processors. "peak" keeps a second tile, the
largest head so far, and loads the keys of every head again, so a program owns 64 with 8 warps, or registers would allow
one program per processor only. It has the heads inside, so `SPLITS` programs share its queries: 192 per window.
float32 at full precision ("ieee") has no tensor cores, and keeps whole rows of a tile in registers: smaller tiles and 8
warps spill next to none of them. Registers and shared memory are from compiling for compute capability 8.0 and 9.0.

So far the kernels have run in Triton's interpreter only, and were compiled for such GPUs but not run or timed on one.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

SPLITS = 8
"""Parts of the queries that "peak" sums separately, and then together in a fixed order."""
LOG2_E = math.log2(math.e)


def received(
    query: Tensor, key: Tensor, query_usable: Tensor, key_usable: Tensor, *, heads: int, scale: float, reduction: str
) -> Tensor:
    """`attention.attention_received`, given which queries and keys count, ``(windows, positions)`` bool."""
    windows, positions, _ = query.shape
    peak = reduction == "peak"
    log_sums = row_log_sums(query, key, query_usable, key_usable, heads=heads, scale=scale)
    sums = query.new_zeros(windows, SPLITS if peak else heads, positions, dtype=torch.float32)
    kernel = sum_peaks_kernel if peak else sum_heads_kernel
    _launch(kernel, query, key, log_sums, sums, query_usable, heads, scale)
    total = sums.sum(1) if peak else sums.amax(1) if reduction == "max" else sums.mean(1)
    return total.masked_fill_(~key_usable, 0)  # masked, not multiplied: a masked key may hold NaN


def to_self(
    query: Tensor,
    key: Tensor,
    query_usable: Tensor,
    key_usable: Tensor,
    *,
    heads: int,
    scale: float,
    per_token: int = 2,
) -> Tensor:
    """`attention.attention_to_self`: only the blocks on the diagonal, once the rows' log-sum-exp is known."""
    windows, positions, width = query.shape
    tokens = positions // per_token
    whole = tokens * per_token
    log_sums = row_log_sums(query, key, query_usable, key_usable, heads=heads, scale=scale)
    shape = windows, tokens, per_token, heads, width // heads
    queries, keys = (states[:, :whole].float().reshape(shape) for states in (query, key))
    scores: Tensor = torch.einsum("wtqhd,wtkhd->wthqk", queries, keys) * (scale * LOG2_E)
    rows = log_sums[..., :whole].unflatten(2, (tokens, per_token)).transpose(1, 2)
    counts = (rows < torch.inf)[..., None] & key_usable[:, :whole].view(windows, tokens, 1, 1, per_token)
    weights = (scores - rows[..., None]).exp2().masked_fill(~counts, 0)
    own: Tensor = weights.mean(2).sum((2, 3)) / per_token
    return own


def row_log_sums(
    query: Tensor, key: Tensor, query_usable: Tensor, key_usable: Tensor, *, heads: int, scale: float
) -> Tensor:
    """``(windows, heads, positions)``: log2 of each query's sum of exponentials, infinity for a masked query."""
    windows, positions, _ = query.shape
    out = query.new_zeros(windows, heads, positions, dtype=torch.float32)
    _launch(log_sums_kernel, query, key, key_usable, out, key_usable, heads, scale)
    return out.masked_fill_(~query_usable[:, None], torch.inf)


def tile_options(dtype: torch.dtype, head_dim: int, peak: bool = False) -> dict[str, int]:
    """Sizes of a tile, and how many warps work on it. The module's docstring says why."""
    width = max(16, triton.next_power_of_2(head_dim))  # the minimum for `tl.dot`
    own, take, warps, stages = 128, 64, 4 if width <= 64 else 8, 3 if width <= 128 else 2
    if dtype == torch.float32:
        own, take, warps, stages = 64, 32, 8, 2
    elif peak:
        own, warps = 64, 8
    return {"OWN": own, "TAKE": take, "WIDTH": width, "num_warps": warps, "num_stages": stages}


def _launch(
    kernel: Any, query: Tensor, key: Tensor, given: Tensor, out: Tensor, usable: Tensor, heads: int, scale: float
) -> None:
    """Launch a kernel: a program for each block of positions, each of `out`'s parts, and each window.

    Args:
        usable: ``(windows, positions)`` of the side that is looped over.
    """
    windows, positions, width = query.shape
    if query.numel() == 0:
        return
    # The interpreter, which takes tensors on the CPU, multiplies the bits of bfloat16.
    if query.dtype not in (torch.float16, torch.float32) and not (query.is_cuda and query.dtype == torch.bfloat16):
        query, key = query.float(), key.float()
    # Everything after the last valid position is masked, so short audio in a long window costs little.
    ends = (usable * torch.arange(1, positions + 1, device=usable.device)).amax(1).to(torch.int32)
    options = tile_options(query.dtype, width // heads, kernel is sum_peaks_kernel)
    grid = (triton.cdiv(positions, options["OWN"]), out.shape[1], windows)
    sizes = positions, heads, width // heads, scale * LOG2_E
    with torch.cuda.device(query.device) if query.is_cuda else nullcontext():  # Triton starts on the current device
        kernel[grid](query.contiguous(), key.contiguous(), given, out, ends, *sizes, **options)


@triton.jit
def log_sums_kernel(
    query, key, usable, out, ends, positions, heads, head_dim, scale,
    OWN: tl.constexpr, TAKE: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Owns queries, loops over keys. ``out (windows, heads, positions)``."""
    head = tl.program_id(1)
    window = tl.program_id(2).to(tl.int64)  # offsets beyond 2**31 are possible
    own = tl.program_id(0) * OWN + tl.arange(0, OWN)
    end = tl.load(ends + window)
    queries = _tile(query, window, own, positions, head, heads, head_dim, WIDTH)
    top = tl.full([OWN], float("-inf"), tl.float32)
    total = tl.zeros([OWN], tl.float32)
    for start in range(0, end, TAKE):
        take = start + tl.arange(0, TAKE)
        counts = tl.load(usable + window * positions + take, mask=take < positions, other=0)
        keys = _tile(key, window, take, positions, head, heads, head_dim, WIDTH)
        scores = tl.dot(queries, tl.trans(keys), input_precision="ieee") * scale
        # After the product: a masked load would have to wait for `counts`. NaN stays in its own row and column.
        scores = tl.where((counts != 0)[None, :], scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 1))
        level = tl.where(higher == float("-inf"), 0.0, higher)  # no key yet: -inf - -inf is NaN
        total = total * tl.exp2(top - level) + tl.sum(tl.exp2(scores - level[:, None]), 1)
        top = higher
    tl.store(out + (window * heads + head) * positions + own, top + tl.log2(total), mask=own < positions)


@triton.jit
def sum_heads_kernel(
    query, key, log_sums, out, ends, positions, heads, head_dim, scale,
    OWN: tl.constexpr, TAKE: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Owns keys, loops over queries. ``out (windows, heads, positions)``."""
    head = tl.program_id(1)
    window = tl.program_id(2).to(tl.int64)
    own = tl.program_id(0) * OWN + tl.arange(0, OWN)
    end = tl.load(ends + window)
    keys = _tile(key, window, own, positions, head, heads, head_dim, WIDTH)
    total = tl.zeros([OWN], tl.float32)
    for start in range(0, end, TAKE):
        take = start + tl.arange(0, TAKE)
        weights = _weights(query, keys, log_sums, window, take, positions, head, heads, head_dim, scale, WIDTH)
        total += tl.sum(weights, 1)
    tl.store(out + (window * heads + head) * positions + own, total, mask=own < positions)


@triton.jit
def sum_peaks_kernel(
    query, key, log_sums, out, ends, positions, heads, head_dim, scale,
    OWN: tl.constexpr, TAKE: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Owns keys, loops over one part of the queries and all heads. ``out (windows, parts, positions)``."""
    part = tl.program_id(1)
    parts = tl.num_programs(1)
    window = tl.program_id(2).to(tl.int64)
    own = tl.program_id(0) * OWN + tl.arange(0, OWN)
    end = tl.load(ends + window)
    span = tl.cdiv(tl.cdiv(end, parts), TAKE) * TAKE
    total = tl.zeros([OWN], tl.float32)
    for start in range(part * span, tl.minimum(part * span + span, end), TAKE):
        take = start + tl.arange(0, TAKE)
        largest = tl.zeros([OWN, TAKE], tl.float32)
        for head in range(heads):
            keys = _tile(key, window, own, positions, head, heads, head_dim, WIDTH)
            weights = _weights(query, keys, log_sums, window, take, positions, head, heads, head_dim, scale, WIDTH)
            largest = tl.maximum(largest, weights)
        total += tl.sum(largest, 1)
    tl.store(out + (window * parts + part) * positions + own, total, mask=own < positions)


@triton.jit
def _weights(query, keys, log_sums, window, take, positions, head, heads, head_dim, scale, WIDTH: tl.constexpr):
    """``(OWN, TAKE)``: the attention that the owned keys receive from the queries `take`."""
    queries = _tile(query, window, take, positions, head, heads, head_dim, WIDTH)
    place = log_sums + (window * heads + head) * positions + take
    rows = tl.load(place, mask=take < positions, other=float("inf"))[None, :]
    scores = tl.dot(keys, tl.trans(queries), input_precision="ieee") * scale
    return tl.where(rows < float("inf"), tl.exp2(scores - rows), 0.0)


@triton.jit
def _tile(states, window, rows, positions, head, heads, head_dim, WIDTH: tl.constexpr):
    """``(rows, WIDTH)``: one head of these positions, zero beyond the last position and beyond the head."""
    column = tl.arange(0, WIDTH)
    place = states + (window * positions * heads + head) * head_dim
    mask = (rows < positions)[:, None] & (column < head_dim)[None, :]
    return tl.load(place + rows[:, None] * (heads * head_dim) + column[None, :], mask=mask, other=0.0)
