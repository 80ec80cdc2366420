"""The slow versions of a_tome and fastadasp, which merge neighbours; see `oracles`."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracle_merging import CLOSE, EQUAL, cosine, first_largest
from oracles import Audio, CloseCall, Slot, averaged, oracle


@oracle("a_tome")
def a_tome(audio: Audio, k: int, config: Any) -> list[Slot]:
    space = getattr(audio, config.similarity).astype(np.float64)
    runs = [[i] for i in range(len(space))]
    while True:
        # The size-weighted mean of means is the mean over all members.
        means = [space[run].mean(axis=0) for run in runs]
        cosines = {first: cosine(means[first], means[first + 1]) for first in range(0, len(runs) - 1, 2)}
        if config.threshold is None:
            joined = best(cosines, min(len(runs) - k, len(runs) // 2))
        else:
            if any(abs(value - config.threshold) < CLOSE for value in cosines.values()):
                raise CloseCall
            joined = [first for first, value in cosines.items() if value > config.threshold]
        for first in joined:
            runs[first] = runs[first] + runs[first + 1]
            runs[first + 1] = []
        runs = [run for run in runs if run]
        if len(runs) == k or not joined:
            return [averaged(run, run[-1]) for run in runs]


def best(cosines: dict[int, float], count: int) -> list[int]:
    """The places of the `count` largest cosines, equal ones to the earlier."""
    left, chosen, worst = dict(cosines), [], 1.0
    for _ in range(count):
        place = list(left)[first_largest(list(left.values()), check=False)]
        worst = left.pop(place)
        chosen.append(place)
    if any(EQUAL < abs(worst - value) < CLOSE for value in left.values()):
        raise CloseCall
    return chosen


@oracle("fastadasp")
def fastadasp(audio: Audio, k: int, config: Any) -> list[Slot]:
    features, n = audio.features.astype(np.float64), len(audio.features)
    joined = best({i: cosine(features[i], features[i + 1]) for i in range(n - 1)}, n - k)
    runs = [[0]]
    for i in range(1, n):
        if i - 1 in joined:
            runs[-1].append(i)
        else:
            runs.append([i])
    slots = [averaged(run) for run in runs]
    if config.weighting == "attention":
        attention = audio.attention.astype(np.float64)
        slots = [
            slot._replace(weights=[attention[i] / attention[slot.members].sum() for i in slot.members])
            for slot in slots
        ]
    return slots
