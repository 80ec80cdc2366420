"""The plan of a method benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The plan of a method benchmark.

    Args:
        methods: keys of the methods; None for all registered ones.
        durations: seconds of audio, rounded up to whole windows.
        batch_sizes: numbers of audios per batch.
        ratios: fractions of tokens kept; the middle one is used for the growth with the length.
        seconds: time for a method on a workload, including all ratios and the encoder; at least three rounds.
        limit: a method is skipped if one call takes longer, or is expected to, judging by a smaller workload.
        device: ``"cpu"``, ``"cuda"``, ...
        dtype: dtype of the encoder and therefore of the features.
    """

    methods: Sequence[str] | None = None
    durations: Sequence[float] = (30.0, 600.0)
    batch_sizes: Sequence[int] = (1, 8)
    ratios: Sequence[float] = (1 / 2, 1 / 4, 1 / 10)
    seconds: float = 10.0
    limit: float = 60.0
    device: str = "cpu"
    dtype: str = "float32"
