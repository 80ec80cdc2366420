"""The slow version of speechprune; see `oracles`."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from oracles import KEY_WEIGHT, QUERY_WEIGHT, Audio, CloseCall, Slot, cosine, kept, oracle

HEADS, KEY_HEADS = 4, 2


@oracle("speechprune")
def speechprune(audio: Audio, k: int, config: Any) -> list[Slot]:
    n = len(audio.features)
    left = list(range(n))
    if len(audio.query):
        wanted = config.phase1_tokens
        if wanted is None:
            wanted = 750 if n > 750 else math.floor(math.sqrt(n * k) + 0.5)
        left = phase1(audio, max(k, min(n, wanted)), config)
    received = phase2(audio.projected[left].astype(np.float64))
    order = sorted(range(len(left)), key=lambda i: (-round(received[i] * 2**20), i))
    if k < len(order) and 0 < received[order[k - 1]] - received[order[k]] < 1e-5:
        raise CloseCall
    return kept(left[i] for i in order[:k])


def phase1(audio: Audio, total: int, config: Any) -> list[int]:
    n = len(audio.features)
    projected, words = audio.projected.astype(np.float64), audio.query.astype(np.float64)
    fit = [round(sum(cosine(x, word) for word in words) / len(words) * 2**20) / 2**20 for x in projected]
    size = max(1, round(config.frame_seconds * 25))
    frames = [list(range(start, min(start + size, n))) for start in range(0, n, size)]
    sums = [sum(fit[i] for i in frame) for frame in frames]
    exps = [math.exp(s - max(sums)) for s in sums]
    share = [e / sum(exps) for e in exps]
    if any(1e-7 < abs(total * p - round(total * p)) < 1e-4 for p in share):
        raise CloseCall
    given = [min(math.floor(total * p + 1e-9), len(frame)) for p, frame in zip(share, frames, strict=True)]
    turn = sorted(range(len(frames)), key=lambda f: (-share[f], f))
    if any(0 < share[a] - share[b] < 1e-6 for a, b in pairwise(turn)):
        raise CloseCall
    while sum(given) < total:
        for frame in turn:
            if sum(given) < total and given[frame] < len(frames[frame]):
                given[frame] += 1
    chosen = []
    for frame, count in zip(frames, given, strict=True):
        best = sorted(frame, key=lambda i: (-fit[i], i))
        if 0 < count < len(frame) and 0 < fit[best[count - 1]] - fit[best[count]] < 4e-6:
            raise CloseCall
        chosen += best[:count]
    return sorted(chosen)


def phase2(projected: np.ndarray) -> list[float]:
    """The mean over heads of the attention each token receives, everything binarised."""

    def sign(x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, -1.0, 1.0)

    queries, keys = sign(projected) @ sign(QUERY_WEIGHT).T, sign(projected) @ sign(KEY_WEIGHT).T
    dim = queries.shape[1] // HEADS
    received = np.zeros(len(projected))
    for head in range(HEADS):
        shared = head // (HEADS // KEY_HEADS)
        q, key = queries[:, head * dim : (head + 1) * dim], keys[:, shared * dim : (shared + 1) * dim]
        for row in q @ key.T / math.sqrt(dim):
            weights = np.exp(row - row.max())
            received += weights / weights.sum() / HEADS
    return list(received)
