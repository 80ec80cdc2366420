"""The slow versions of divprune, cdpruner and sa_map; see `oracles`."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle_merging import CLOSE, EQUAL, cosine, first_largest
from oracles import Audio, CloseCall, Slot, kept, oracle


@oracle("divprune")
def divprune(audio: Audio, k: int, config: Any) -> list[Slot]:
    x = getattr(audio, config.similarity).astype(np.float64)
    distance = [[1 - cosine(a, b) for b in x] for a in x]
    n = len(x)
    nearest = [min(distance[i][j] for j in range(n) if j != i) for i in range(n)]
    chosen = [first_largest(nearest)]
    while len(chosen) < k:
        left = [i for i in range(n) if i not in chosen]
        chosen.append(left[first_largest([min(distance[i][j] for j in chosen) for i in left])])
    return kept(chosen)


@oracle("cdpruner")
def cdpruner(audio: Audio, k: int, config: Any) -> list[Slot]:
    n = len(audio.features)
    scores = [0.0] * n
    if config.relevance == "attention":
        scores = [float(a) for a in audio.attention]
    elif config.relevance == "query" and len(audio.query):
        query, projected = audio.query.astype(np.float64), audio.projected.astype(np.float64)
        scores = [sum(cosine(token, word) for word in query) / len(query) for token in projected]
    low, high = min(scores), max(scores)
    r = [(score - low + 1e-6) / (high - low) if high > low else 1.0 for score in scores]
    return kept(determinantal(getattr(audio, config.similarity).astype(np.float64), r, k))


@oracle("sa_map")
def sa_map(audio: Audio, k: int, config: Any) -> list[Slot]:
    x = audio.features.astype(np.float64)
    groups, joins = [[0]], []
    for t in range(1, len(x)):
        mean = sum(cosine(x[t], x[i]) for i in groups[-1]) / len(groups[-1])
        if EQUAL < abs(mean - config.threshold) < CLOSE:
            raise CloseCall
        if mean > config.threshold - EQUAL:
            groups[-1].append(t)
            joins.append((mean, t))
        else:
            groups.append([t])
    while len(groups) < k:
        worst = joins.pop(first_largest([-mean for mean, _ in joins]))[1]
        old = next(group for group in groups if worst in group)
        cut = old.index(worst)
        place = groups.index(old)
        groups[place : place + 1] = [old[:cut], old[cut:]]
    weights = []
    for group in groups:
        attention = [float(audio.attention_peak[i]) for i in group]
        weights.append([a / sum(attention) for a in attention])
    tokens = np.stack([sum(w * x[i] for w, i in zip(*pair, strict=True)) for pair in zip(weights, groups, strict=True)])
    r = [sum(float(audio.attention_self[i]) for i in group) / len(group) for group in groups]
    return [Slot(groups[g], weights[g], sum(groups[g]) // len(groups[g])) for g in sorted(determinantal(tokens, r, k))]


def determinantal(x: np.ndarray, r: list[float], k: int) -> list[int]:
    """Greedy MAP by definition: the gain of a token is the determinant with it over the determinant without it.

    In the kernel r_i cos_ij r_j that is r_i² times the same of the cosines alone, which is what is left of the token
    outside the span of those chosen, whatever the r are.
    """
    n = len(x)
    cosines = np.array([[cosine(x[i], x[j]) for j in range(n)] for i in range(n)])
    chosen: list[int] = []
    while len(chosen) < k:
        rest = [gain(cosines, chosen, i) if i not in chosen else 0.0 for i in range(n)]
        if any(abs(part - 1e-6) < 1e-8 for part in rest):
            raise CloseCall
        free = [i for i in range(n) if rest[i] > 1e-6]
        if not free:
            break
        relevant = [i for i in free if r[i] > 0]
        if relevant:
            free, gains = relevant, [r[i] ** 2 * rest[i] for i in relevant]
        else:  # all gains are 0, and stand in the order of those of a tiny r
            gains = [rest[i] for i in free]
        # A gain is known to some parts of itself, not of 1: late gains are small.
        chosen.append(free[first_largest([g / max(gains) for g in gains])])
    while len(chosen) < k:
        left = [i for i in range(n) if i not in chosen]
        most = max(r[i] for i in left) or 1.0
        chosen.append(left[first_largest([r[i] / most for i in left])])
    return chosen


def gain(kernel: np.ndarray, chosen: list[int], i: int) -> float:
    """det(L with i) / det(L): the Schur complement, since determinants of many tokens are no numbers any more."""
    if not chosen:
        return float(kernel[i, i])
    inside, across = kernel[np.ix_(chosen, chosen)], kernel[chosen, i]
    return float(kernel[i, i] - across @ np.linalg.solve(inside, across))
