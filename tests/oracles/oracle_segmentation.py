"""The slow version of segmentation; see `oracles`. Prominence is scipy's own."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from oracle_merging import CLOSE, EQUAL, cosine
from oracles import Audio, CloseCall, Slot, averaged, oracle
from scipy.signal import peak_prominences

RATE = 25.0


@oracle("segmentation")
def segmentation(audio: Audio, k: int, config: Any) -> list[Slot]:
    n = len(audio.features)
    peaks = by_prominence(distances(audio.features.astype(np.float64)))
    if config.max_tokens or config.retention_ratio or config.tokens_per_second:
        cuts = [0, *sorted(t + 1 for t in peaks[: k - 1]), n]
        while len(cuts) <= k:
            cuts = halve_one(cuts)
    else:
        cuts = [0, n]
        for t in peaks:
            nearest = min(abs(t + 1 - cut) for cut in cuts)
            if config.min_duration is None or nearest / RATE >= config.min_duration - 1e-9:
                cuts = sorted([*cuts, t + 1])
        if config.max_duration is not None:
            cuts = [cut for part in pairwise(cuts) for cut in equal_parts(*part, config.max_duration)] + [n]
    return [averaged(list(range(start, end))) for start, end in pairwise(cuts)]


def distances(features: np.ndarray) -> np.ndarray:
    """1 - cosine of neighbours. Values that are equal but for float64's noise are made equal."""
    values = np.array([1 - cosine(x, y) for x, y in pairwise(features)])
    order = np.argsort(values)
    for low, high in pairwise(order):
        if values[high] - values[low] <= EQUAL:
            values[high] = values[low]
    return values


def by_prominence(heights: np.ndarray) -> list[int]:
    """The peaks, the most prominent first, the earlier of equals first."""
    triples = [(t, heights[t] - heights[t - 1], heights[t] - heights[t + 1]) for t in range(1, len(heights) - 1)]
    if any(0 < abs(step) < CLOSE for _, *steps in triples for step in steps):
        raise CloseCall
    peaks = [t for t, left, right in triples if left > 0 and right > 0]
    tops = [heights[t] for t in (*peaks, 0, -1)] if peaks else []
    if any(0 < abs(a - b) < CLOSE for i, a in enumerate(tops) for b in tops[:i]):
        raise CloseCall  # whether one peak ends the walk from another
    known = dict(zip(peaks, peak_prominences(heights, peaks)[0], strict=True))
    order = sorted(peaks, key=lambda t: (-round(known[t], 10), t))
    if any(EQUAL < known[a] - known[b] < CLOSE for a, b in pairwise(order)):
        raise CloseCall
    return order


def halve_one(cuts: list[int]) -> list[int]:
    """Split the longest segment, the earliest of equals, its first half not the shorter one."""
    longest = max(end - start for start, end in pairwise(cuts))
    start = next(start for start, end in pairwise(cuts) if end - start == longest)
    return sorted([*cuts, start + (longest + 1) // 2])


def equal_parts(start: int, end: int, seconds: float) -> list[int]:
    """Where the parts of a segment begin: as few as last no longer than that, the longer ones first."""
    parts = math.ceil((end - start) / max(1, math.floor(seconds * RATE + 1e-9)))
    cuts = []
    while parts:
        cuts.append(start)
        start += math.ceil((end - start) / parts)
        parts -= 1
    return cuts
