"""The slow version of bipartite merging, ltbm and global_merge; see `oracles`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from oracles import Audio, CloseCall, Slot, averaged, cosine, oracle

EQUAL = 1e-11  # float64 noise: values this near are the same value
CLOSE = 4e-6  # values this near but not equal may come in either order in float32


@oracle("ltbm")
def ltbm(audio: Audio, k: int, config: Any) -> list[Slot]:
    return merge(audio, k, config, config.window)


@oracle("global_merge")
def global_merge(audio: Audio, k: int, config: Any) -> list[Slot]:
    return merge(audio, k, config, math.inf)


def merge(audio: Audio, k: int, config: Any, window: float) -> list[Slot]:
    features = getattr(audio, config.similarity).astype(np.float64)
    tokens = [([i], i) for i in range(len(features))]  # members and position, in the present list's order
    while len(tokens) > k:
        # The size-weighted mean of means is the mean over all members.
        means = [features[members].mean(axis=0) for members, _ in tokens]
        edges = []
        for a in range(0, len(tokens), 2):
            near = [b for b in range(1, len(tokens), 2) if abs(tokens[a][1] - tokens[b][1]) <= window]
            if near:
                cosines = [cosine(means[a], means[b]) for b in near]
                edges.append((a, near[first_largest(cosines)], max(cosines)))
        if not edges:
            window *= 2
            continue
        count = min(len(tokens) - k, len(tokens) // 2, len(edges))
        worst = 1.0
        for _ in range(count):
            a, b, worst = edges.pop(first_largest([c for _, _, c in edges], check=False))
            tokens[b][0].extend(tokens[a][0])
            tokens[a] = ([], -1)
        if any(EQUAL < abs(worst - c) < CLOSE for _, _, c in edges):
            raise CloseCall
        tokens = [(members, position) for members, position in tokens if members]
    return [averaged(sorted(members), position) for members, position in tokens]


def first_largest(values: list[float], check: bool = True) -> int:
    best = max(values)
    if check and any(EQUAL < best - value < CLOSE for value in values):
        raise CloseCall
    return next(i for i, value in enumerate(values) if best - value <= EQUAL)
