"""Working chunk by chunk: an audio's budget shared among stretches of time, by their length or by their content.

Chunks bound the cost of methods that compare all tokens with all tokens. Shared by content, the budget follows the
sound: a stretch gets tokens according to how much its tokens differ from their neighbours, so silence and repetition
get few. All of this is our own, and not from the methods' papers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .assignment import Assignment
from .audio_tokens import PER_TOKEN, AudioTokens
from .device import on_device
from .similarity import STEPS, cosine_to_next

Assign = Callable[[AudioTokens, list[int]], Assignment]


def assign_in_chunks(
    tokens: AudioTokens, counts: list[int], seconds: float, by_content: bool, assign: Assign
) -> Assignment:
    """Cut each audio into equal chunks, apply ``assign`` to them as if they were audios, and join the slots.

    Args:
        tokens: the audios.
        counts: slots wanted for each.
        seconds: maximum length of a chunk.
        by_content: whether the chunks share the budget by content rather than by length.
        assign: ``(tokens, counts)`` to an assignment with exactly that many slots each.
    """
    # Every chunk gets one token; by content, at least as many again must be left to distribute.
    bounds = [
        chunk_bounds(n, k // 2 if by_content else k, seconds * rate)
        for n, k, rate in zip(tokens.counts, counts, tokens.known_rates("chunk_seconds or allocation"), strict=True)
    ]
    sizes = [[end - start for start, end in pairwise(cuts)] for cuts in bounds]
    weights: list[list[float]] = [[float(size) for size in row] for row in sizes]
    if by_content and bounds:
        weights = novelty(tokens, bounds)
    shares = [share_out(k, w, most) for k, w, most in zip(counts, weights, sizes, strict=True)]
    chunks, place = cut(tokens, bounds)
    part = assign(chunks, [k for row in shares for k in row])
    return join(part, place, tokens, bounds, shares)


def chunk_bounds(n: int, k: int, size: float) -> list[int]:
    """Where the chunks of n tokens begin, and n: as few and as equal as possible.

    They are no longer than ``size`` tokens, unless that would make more than k of them.
    """
    if n == 0:
        return [0, 0]
    number = max(1, min(k, math.ceil(n / size) if size * n > n else n))
    return [-(-c * n // number) for c in range(number + 1)]


def share_out(total: int, weights: Sequence[float], most: Sequence[int]) -> list[int]:
    """Integers that sum to ``total``, by weight, each at least 1 and at most ``most[i]``.

    Shares are ``scale * weight`` between those limits, with the scale that makes them sum to the total; what
    rounding down loses goes to the largest remainders, the earlier one on ties. Weights that are all zero are equal.
    """
    if total >= sum(most):
        return list(most)
    if total <= len(weights):
        return [1] * total + [0] * (len(weights) - total)
    share = np.asarray(weights, dtype=np.float64)
    share = np.where(np.isfinite(share) & (share > 0), share, 0)
    room = np.asarray(most, dtype=np.float64)
    share = share / share.max() if share.max() > 0 else np.ones_like(share)
    exact = np.clip(_scale(total, share, room) * share, 1, room).round(6)
    given = np.floor(exact)
    # Rounded, so that remainders that should tie do.
    order = np.argsort((given - exact).round(6), kind="stable")
    while (left := int(total - given.sum())) > 0:
        open_ = order[given[order] < room[order]]
        given[open_[:left]] += 1
    return [int(number) for number in given]


def _scale(total: int, share: NDArray[np.float64], room: NDArray[np.float64]) -> float:
    """The scale at which ``sum(clip(scale * share, 1, room))`` reaches the total; the sum is piecewise linear."""
    weighty = share > 0
    share, room, rest = share[weighty], room[weighty], float(np.count_nonzero(~weighty))
    turns = np.concatenate([1 / share, room / share])
    order = np.argsort(turns)
    slope = np.cumsum(np.concatenate([share, -share])[order])
    turns = turns[order]
    sums = len(share) + rest + np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(turns))])
    piece = max(0, int(np.searchsorted(sums, total, side="right")) - 1)
    missing = total - sums[piece]
    return float(turns[piece] + (missing / slope[piece] if missing > 0 and slope[piece] > 1e-12 else 0))


def novelty(tokens: AudioTokens, bounds: list[list[int]]) -> list[list[float]]:
    """How much the tokens of every chunk differ from the token before: the sum of 1 - cosine over the chunk."""
    step = 1 - cosine_to_next(tokens.features)
    # A link belongs to the chunk of its later token. Equal neighbours add nothing, including zero vectors.
    same = (tokens.features[:, 1:] == tokens.features[:, :-1]).all(-1)
    step = torch.where(same | ~tokens.mask[:, 1:] | step.isnan(), 0, step).clamp(min=0)
    # All are multiples of 2^-20, so the sum is exact.
    total = torch.nn.functional.pad((step * STEPS).long(), (2, 0)).cumsum(1)
    width = max(len(row) for row in bounds)
    cuts = on_device([row + [row[-1]] * (width - len(row)) for row in bounds], total.device)
    sums = total.gather(1, cuts).diff(dim=1).tolist()
    return [[number / STEPS for number in row[: len(cut) - 1]] for row, cut in zip(sums, bounds, strict=True)]


def cut(tokens: AudioTokens, bounds: list[list[int]]) -> tuple[AudioTokens, Tensor]:
    """The chunks as audios, and the place of each of their tokens in the flat batch ``(chunks, width)``; padding points
    past its end."""
    device, width = tokens.features.device, tokens.features.shape[1]
    spans = [(row, start, end) for row, cuts in enumerate(bounds) for start, end in pairwise(cuts)]
    counts = [end - start for _, start, end in spans]
    begin = on_device([row * width + start for row, start, _ in spans], device)
    index = begin[:, None] + torch.arange(max(counts, default=0), device=device)
    lengths = on_device(counts, device)
    inside = torch.arange(index.shape[1], device=device) < lengths[:, None]
    place = torch.where(inside, index, len(tokens.counts) * width)
    rows = on_device([row for row, _, _ in spans], device)
    safe = index.clamp(max=max(0, len(tokens.counts) * width - 1))
    values: dict[str, Any] = {
        name: value.flatten(0, 1)[safe]
        for name in ("features", *PER_TOKEN)
        if (value := getattr(tokens, name)) is not None
    }
    values |= {name: value[rows] for name in ("query", "query_lengths") if (value := getattr(tokens, name)) is not None}
    rates = [tokens.frame_rates[row] for row, _, _ in spans]
    return AudioTokens(
        lengths=lengths, counts=counts, frame_rate=rates, first_layer=tokens.first_layer, **values
    ), place


def join(
    part: Assignment, place: Tensor, tokens: AudioTokens, bounds: list[list[int]], shares: list[list[int]]
) -> Assignment:
    """The chunks' slots concatenated, audio by audio."""
    audios, width = tokens.features.shape[:2]
    device = part.slot.device
    before = [slot for row in shares for slot in accumulate(row[:-1], initial=0)]
    shift = on_device(before, device)[:, None]
    place = place.to(device)
    slot = torch.full((audios * width + 1,), -1, device=device)
    slot = slot.scatter(0, place.flatten(), torch.where(part.slot >= 0, part.slot + shift, -1).flatten())
    weight = part.weight.new_zeros(audios * width + 1).scatter(0, place.flatten(), part.weight.flatten())
    totals = [sum(row) for row in shares]
    most = max(totals, default=0)
    position = None
    if not part.position_is_mean:
        starts = on_device([start for cuts in bounds for start in cuts[:-1]], device)[:, None]
        rows = on_device([i for i, row in enumerate(shares) for _ in row], device)[:, None]
        column = torch.arange(part.width, device=device)
        real = column < part.lengths[:, None]
        target = torch.where(real, rows * most + shift + column, audios * most)
        flat = part.position.new_zeros(audios * most + 1)
        flat = flat.scatter(0, target.flatten(), (part.position + starts).flatten())
        position = flat[:-1].view(audios, most)
    return Assignment(
        slot[:-1].view(audios, width),
        weight[:-1].view(audios, width),
        on_device(totals, device),
        most,
        position,  # type: ignore[arg-type]
        part.one_each,
    )
