"""The bound: the minimum time to the first token if time depended only on the number of operations.

The measured time of each phase of the uncompressed model is scaled by the fraction of its operations that remains; the
features are unchanged and the compressor is free. Phases are scaled separately, since a device's throughput differs
between the encoder and the language model.

On a fast device, the operations of a short prompt take less time than reading the weights and launching the kernels,
which are needed however few tokens are left. One decoding step, which does just that, is therefore the minimum time of
a prefill: with it as the floor, the bound is what compression alone can achieve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

SCALED = ("encoder", "projector", "prefill")


@dataclass(frozen=True)
class Bound:
    """The bound given by the operations.

    Args:
        seconds: time to the first token.
        speedup: speedup over the uncompressed model.
        floor_seconds: time to the first token with a decoding step as the minimum time of a prefill; None if no step
            was measured.
        floor_speedup: the corresponding speedup over the uncompressed model; None if ``floor_seconds`` is.
    """

    seconds: float
    speedup: float
    floor_seconds: float | None
    floor_speedup: float | None

    def to_dict(self) -> dict[str, float | None]:
        return asdict(self)


def bound(
    seconds: Mapping[str, float],
    before: Mapping[str, float],
    after: Mapping[str, float],
    decode: float | None = None,
) -> Bound:
    """The bound of one compression on one workload.

    Args:
        seconds: time of the uncompressed model by phase, including the features.
        before: operations of the uncompressed model, by phase.
        after: operations of the compressed model, by phase.
        decode: seconds of one decoding step of the uncompressed model.
    """
    scaled = {name: seconds[name] * after[name] / before[name] for name in SCALED}
    features, whole = seconds["features"], seconds["features"] + sum(seconds[name] for name in SCALED)
    least = features + sum(scaled.values())
    if decode is None:
        return Bound(least, whole / least, None, None)
    # A step is slower than a whole prefill only by measurement noise; the floor is never higher than the prefill.
    prefill = max(scaled["prefill"], min(decode, seconds["prefill"]))
    floor = features + scaled["encoder"] + scaled["projector"] + prefill
    return Bound(least, whole / least, floor, whole / floor)
