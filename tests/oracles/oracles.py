"""Slow, obvious versions of every method, for one audio: what the fast ones in `hf_tokcomp` are held against.

Written from the methods' definitions and from nothing else: loops over tokens, float64, no code of the library.
A new method needs an entry, here or in a file ``oracle_*.py``: a function ``(audio, k, config) -> list[Slot]`` under
``@oracle(name)``. k is 0 where the config gives no budget. One for a method that learns is under ``@learned_oracle``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

HIDDEN = 6  # width of `query` and `projected`
_RNG = np.random.default_rng(20)
QUERY_WEIGHT = _RNG.normal(size=(4 * 3, HIDDEN)).astype(np.float32)  # first layer: 4 heads of 3
KEY_WEIGHT = _RNG.normal(size=(2 * 3, HIDDEN)).astype(np.float32)  # 2 key heads of 3


class Audio(NamedTuple):
    """One audio, float32 arrays ``(tokens, ...)``; the query has words instead of tokens."""

    features: np.ndarray
    attention: np.ndarray
    keys: np.ndarray
    query: np.ndarray
    projected: np.ndarray
    attention_max: np.ndarray
    attention_peak: np.ndarray
    attention_self: np.ndarray


class Slot(NamedTuple):
    members: list[int]
    weights: list[float]
    position: int


class CloseCall(Exception):
    """The answer hangs on a difference that float32 cannot see, so the library may rightly answer otherwise."""


Oracle = Callable[[Audio, int, Any], list[Slot]]
ORACLES: dict[str, Oracle] = {}

LearnedOracle = Callable[[np.ndarray, int, Any, dict[str, np.ndarray]], np.ndarray]
LEARNED_ORACLES: dict[str, LearnedOracle] = {}


def learned_oracle(name: str) -> Callable[[LearnedOracle], LearnedOracle]:
    """For a method that learns: ``(features, k, config, weights by name) -> (k, dim)``."""

    def register(function: LearnedOracle) -> LearnedOracle:
        assert name not in LEARNED_ORACLES
        LEARNED_ORACLES[name] = function
        return function

    return register


def oracle(name: str) -> Callable[[Oracle], Oracle]:
    def register(function: Oracle) -> Oracle:
        assert name not in ORACLES
        ORACLES[name] = function
        return function

    return register


def expected(config: Any, audio: Audio, frame_rate: float = 25.0) -> list[Slot]:
    """The slots of one audio under this config; the identity comes before the method."""
    n = len(audio.features)
    if n <= 1:
        return kept(range(n))
    if not config.deterministic_length:
        return ORACLES[config.method](audio, 0, config)
    if config.method == "compose":
        return ORACLES["compose"](audio, 0, config)
    k = budget(config, n, frame_rate)
    if k >= n:
        return kept(range(n))
    if config.chunk_seconds is None and config.allocation == "even":
        return ORACLES[config.method](audio, k, config)
    return in_chunks(audio, k, config, frame_rate)


def budget(config: Any, n: int, frame_rate: float = 25.0) -> int:
    if n == 0 or config.method == "none":
        return n
    if config.max_tokens is not None:
        return min(n, config.max_tokens)
    if config.tokens_per_second is not None:
        wanted = n * config.tokens_per_second / frame_rate
    else:
        wanted = n * config.retention_ratio
    return max(1, min(n, math.floor(wanted + 0.5)))


def in_chunks(audio: Audio, k: int, config: Any, frame_rate: float) -> list[Slot]:
    """The method on each chunk as if it were an audio, with its share of k."""
    n = len(audio.features)
    seconds = 0.4 if config.chunk_seconds is None else config.chunk_seconds
    most = max(1, k // 2) if config.allocation == "content" else k
    number = min(most, math.ceil(n / (seconds * frame_rate)))
    cuts = [math.ceil(Fraction(c * n, number)) for c in range(number + 1)]
    sizes = [end - start for start, end in pairwise(cuts)]
    weights = [Fraction(size) for size in sizes]
    if config.allocation == "content":
        x = audio.features.astype(np.float64)
        steps = [0.0] + [0.0 if (x[t] == x[t - 1]).all() else 1 - cosine(x[t], x[t - 1]) for t in range(1, n)]
        weights = [Fraction(round(sum(steps[a:b]) * 1e6), 10**6) for a, b in pairwise(cuts)]
    slots: list[Slot] = []
    for start, end, share in zip(cuts, cuts[1:], shares(k, weights, sizes), strict=False):
        part = Audio(*(value if name == "query" else value[start:end] for name, value in audio._asdict().items()))
        inside = kept(range(end - start)) if share >= end - start else ORACLES[config.method](part, share, config)
        slots += [Slot([m + start for m in s.members], s.weights, s.position + start) for s in inside]
    return slots


def shares(total: int, weights: list[Fraction], most: list[int]) -> list[int]:
    """clip(scale * weight, 1, most) with the scale at which they sum to the total, found among all turning points."""
    if not any(weights):
        weights = [Fraction(1)] * len(weights)

    def clipped(scale: Fraction) -> list[Fraction]:
        return [min(max(scale * w, Fraction(1)), Fraction(m)) for w, m in zip(weights, most, strict=True)]

    turns = sorted({x / w for w, m in zip(weights, most, strict=True) if w for x in (1, m)})
    below = max((t for t in turns if sum(clipped(t)) <= total), default=Fraction(0))
    rising = [i for i, (w, m) in enumerate(zip(weights, most, strict=True)) if 1 <= below * w < m and w]
    missing = total - sum(clipped(below))
    exact = clipped(below + missing / sum(weights[i] for i in rising) if missing and rising else below)
    given = [math.floor(share) for share in exact]
    rest = [share - whole for share, whole in zip(exact, given, strict=True)]
    integral = all(w.denominator == 1 for w in weights)
    if not integral and any(0 < r < 1e-3 or r > 1 - 1e-3 for r in rest):
        raise CloseCall
    while sum(given) < total:
        if not any(r >= 0 and g < m for r, g, m in zip(rest, given, most, strict=True)):
            rest = [Fraction(0)] * len(rest)  # only chunks of no weight have room: the next round
        room = [i for i in range(len(given)) if given[i] < most[i] and rest[i] >= 0]
        best = max(room, key=lambda i: (rest[i], -i))
        if not integral and any(i != best and 0 < abs(rest[i] - rest[best]) < 1e-3 for i in room):
            raise CloseCall
        given[best] += 1
        rest[best] = Fraction(-1)
    return given


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    norms = math.sqrt(x @ x) * math.sqrt(y @ y)
    return float(x @ y) / norms if norms > 0 else 0.0


def kept(indices: Iterable[int]) -> list[Slot]:
    return [Slot([i], [1.0], i) for i in sorted(indices)]


def averaged(members: list[int], position: int | None = None) -> Slot:
    """A plain mean; without a position of its own it stands at the floor of its members' mean index."""
    return Slot(
        members, [1 / len(members)] * len(members), sum(members) // len(members) if position is None else position
    )


def largest(indices: list[int], scores: Any, count: int) -> list[int]:
    """The `count` indices with the largest scores, equal scores to the earlier index."""
    left, chosen = list(indices), []
    for _ in range(count):
        best = left[0]
        for i in left:
            if scores[i] > scores[best]:
                best = i
        left.remove(best)
        chosen.append(best)
    return chosen


@oracle("average_pooling")
def average_pooling(audio: Audio, k: int, config: Any) -> list[Slot]:
    n = len(audio.features)
    return [averaged([i for i in range(n) if i * k // n == slot]) for slot in range(k)]


@oracle("stride")
def stride(audio: Audio, k: int, config: Any) -> list[Slot]:
    n = len(audio.features)
    return kept((j * n + k - 1) // k for j in range(k))  # ceil(j * n / k) in integers


@oracle("random")
def random(audio: Audio, k: int, config: Any) -> list[Slot]:
    # No sum on paper gives a draw; the recipe is repeated, because a stored seed must keep its meaning.
    n = len(audio.features)
    digest = hashlib.blake2b(f"{config.seed}/{n}/{k}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    return kept(torch.randperm(n, generator=generator).tolist()[:k])


@oracle("top_k")
def top_k(audio: Audio, k: int, config: Any) -> list[Slot]:
    best = largest(list(range(len(audio.features))), received(audio, config), k)
    return kept(best) if config.order == "time" else [Slot([i], [1.0], i) for i in best]


@oracle("bottom_k")
def bottom_k(audio: Audio, k: int, config: Any) -> list[Slot]:
    return kept(largest(list(range(len(audio.features))), [-a for a in received(audio, config)], k))


@oracle("segmentwise_top_k")
def segmentwise_top_k(audio: Audio, k: int, config: Any) -> list[Slot]:
    n, segments = len(audio.features), config.segments
    if config.segment_seconds is not None:
        segments = math.ceil(Fraction(n, 25) / Fraction(config.segment_seconds).limit_denominator(1000))
    segments = k if segments == "budget" else min(segments, k)
    chosen: list[int] = []
    for segment in range(segments):
        inside = [i for i in range(n) if i * segments // n == segment]
        chosen += largest(inside, received(audio, config), k // segments)
    if config.remainder == "spread":
        others = [i for i in range(n) if i not in chosen]
        chosen += largest(others, received(audio, config), k - len(chosen))
    return kept(chosen)


def received(audio: Audio, config: Any) -> np.ndarray:
    return audio.attention if config.head_reduction == "mean" else audio.attention_max
