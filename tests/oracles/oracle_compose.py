"""The slow version of compose; see `oracles`."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracles import Audio, Slot, expected, oracle

POOLED = {"average_pooling", "segmentation", "fastadasp", "sa_map"}
"""Methods whose slots stand at the mean of their members."""


@oracle("compose")
def compose(audio: Audio, k: int, config: Any) -> list[Slot]:
    n, left = len(audio.features), audio
    slots = [Slot([i], [1.0], i) for i in range(n)]
    for stage in config.stages:
        step = expected(stage, left, 25.0 * len(slots) / n)
        last = max(slot.position for slot in slots)
        joined = [join(slots, slot, stage.method in POOLED) for slot in step]
        if stage.method in POOLED:
            last = max(last, *(slot.position for slot in joined))
            joined = settled(joined, last)
        slots = joined
        left = after(left, step)
    return slots


def join(slots: list[Slot], outer: Slot, pooled: bool) -> Slot:
    """A slot of a stage, in original tokens."""
    pairs = sorted(
        (token, weight * outer_weight)
        for member, outer_weight in zip(outer.members, outer.weights, strict=True)
        for token, weight in zip(slots[member].members, slots[member].weights, strict=True)
    )
    members, weights = [token for token, _ in pairs], [weight for _, weight in pairs]
    if pooled and len(outer.members) > 1:
        return Slot(members, weights, sum(members) // len(members))
    return Slot(members, weights, slots[outer.position].position)


def settled(slots: list[Slot], last: int) -> list[Slot]:
    """In temporal order, each at a place of its own, none behind the last."""
    slots = sorted(slots, key=lambda slot: slot.position)
    places: list[int] = []
    for slot in slots:
        places.append(max(slot.position, places[-1] + 1 if places else 0))
    places = [min(place, last - (len(slots) - 1 - i)) for i, place in enumerate(places)]
    return [slot._replace(position=place) for slot, place in zip(slots, places, strict=True)]


def after(audio: Audio, step: list[Slot]) -> Audio:
    """What a stage leaves: features by the weights, scores and keys as weighted means."""

    def reduced(name: str, values: np.ndarray) -> np.ndarray:
        if name == "query":
            return values
        rows = []
        for slot in step:
            weights = np.array(slot.weights)
            weights = weights if name == "features" else weights / weights.sum()
            rows.append(sum(w * values[m].astype(np.float64) for w, m in zip(weights, slot.members, strict=True)))
        return np.array(rows, dtype=np.float32)

    return Audio(**{name: reduced(name, value) for name, value in audio._asdict().items()})
