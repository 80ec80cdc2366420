"""The bound: how soon the first token could be there if time went with the operations alone.

Each phase of the uncompressed model takes the time that was measured, and the share of it that is left of its
operations; the features stay as they are and the compressor costs nothing. Phases are scaled one by one, since a
device's throughput in the encoder is another than in the language model.

On a fast device the operations of a short prompt take less time than reading the weights and starting the kernels, and
both are needed however few tokens are left. One step of decoding, which does just that, is therefore the least that a
prefill takes: with it as the floor, the bound is what compression alone can reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

SCALED = ("encoder", "projector", "prefill")


@dataclass(frozen=True)
class Bound:
    """What the operations allow.

    Args:
        seconds: to the first token.
        speedup: against the uncompressed model.
        floor_seconds: to the first token, with a decoding step as the least time of a prefill; None where none was
            measured.
        floor_speedup: against the uncompressed model; None where ``floor_seconds`` is.
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
        seconds: of the uncompressed model, by phase, the features among them.
        before: operations of the uncompressed model, by phase.
        after: operations of the compressed model, by phase.
        decode: seconds of one decoding step of the uncompressed model.
    """
    scaled = {name: seconds[name] * after[name] / before[name] for name in SCALED}
    features, whole = seconds["features"], seconds["features"] + sum(seconds[name] for name in SCALED)
    least = features + sum(scaled.values())
    if decode is None:
        return Bound(least, whole / least, None, None)
    # A step can be measured to be slower than a whole prefill only by chance; the floor is no higher than that.
    prefill = max(scaled["prefill"], min(decode, seconds["prefill"]))
    floor = features + scaled["encoder"] + scaled["projector"] + prefill
    return Bound(least, whole / least, floor, whole / floor)
