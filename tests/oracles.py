"""Slow, obvious versions of every method, for one audio: what the fast ones in `hf_tokcomp` are held against.

Written from the methods' definitions and from nothing else: loops over tokens, float64, no code of the library.
A new method needs an entry, here or in a file ``oracle_*.py``: a function ``(audio, k, config) -> list[Slot]`` under
``@oracle(name)``. k is 0 where the config gives no budget.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
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


def oracle(name: str) -> Callable[[Oracle], Oracle]:
    def register(function: Oracle) -> Oracle:
        assert name not in ORACLES
        ORACLES[name] = function
        return function

    return register


def expected(config: Any, audio: Audio, frame_rate: float = 25.0) -> list[Slot]:
    """The slots of one audio under this config; the identity comes before the method."""
    n = len(audio.features)
    if not config.deterministic_length:
        return kept(range(n)) if n <= 1 else ORACLES[config.method](audio, 0, config)
    k = budget(config, n, frame_rate)
    return kept(range(n)) if n <= 1 or k >= n else ORACLES[config.method](audio, k, config)


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
    return kept(largest(list(range(len(audio.features))), audio.attention, k))


@oracle("bottom_k")
def bottom_k(audio: Audio, k: int, config: Any) -> list[Slot]:
    return kept(largest(list(range(len(audio.features))), [-a for a in audio.attention], k))


@oracle("segmentwise_top_k")
def segmentwise_top_k(audio: Audio, k: int, config: Any) -> list[Slot]:
    n, segments = len(audio.features), min(config.segments, k)
    chosen: list[int] = []
    for segment in range(segments):
        inside = [i for i in range(n) if i * segments // n == segment]
        chosen += largest(inside, audio.attention, k // segments)
    return kept(chosen)
