"""The slow version of visionzip; see `oracles`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from oracle_merging import cosine, first_largest
from oracles import Audio, Slot, kept, largest, oracle


@oracle("visionzip")
def visionzip(audio: Audio, k: int, config: Any) -> list[Slot]:
    n, ratio = len(audio.features), config.contextual_ratio
    contextual = math.floor(k * ratio / (1 + ratio) + 0.5)
    dominant = largest(list(range(n)), audio.attention, k - contextual)
    if contextual == 0:
        return kept(dominant)
    space = getattr(audio, config.similarity).astype(np.float64)
    rest = [i for i in range(n) if i not in dominant]
    targets = rest[:: max(1, len(rest) // contextual)][:contextual]
    assigned: dict[int, list[int]] = {target: [] for target in targets}
    for i in rest:
        if i not in targets:
            assigned[targets[first_largest([cosine(space[i], space[t]) for t in targets])]].append(i)
    slots = kept(dominant)
    for target, others in assigned.items():
        shares = {i: 1 / len(others) for i in others} | {target: 1.0}
        if config.contextual == "mean":
            shares = {i: 1 / (len(others) + 1) for i in (*others, target)}
        slots.append(Slot(sorted(shares), [shares[i] for i in sorted(shares)], target))
    return sorted(slots, key=lambda slot: slot.position)
