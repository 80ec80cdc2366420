"""What a run of the methods' benchmark measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        methods: their keys; None for all that are registered.
        durations: seconds of audio, rounded up to whole windows.
        batch_sizes: audios together.
        ratios: fractions of tokens kept; the one in the middle is used for the growth with the length.
        seconds: time for a method on a workload, all ratios and the encoder together; at least three rounds.
        limit: a method is not measured where one call takes longer, or would, judged by a smaller workload.
        device: ``"cpu"``, ``"cuda"``, ...
        dtype: of the encoder and so of the features.
    """

    methods: Sequence[str] | None = None
    durations: Sequence[float] = (30.0, 600.0)
    batch_sizes: Sequence[int] = (1, 8)
    ratios: Sequence[float] = (1 / 2, 1 / 4, 1 / 10)
    seconds: float = 10.0
    limit: float = 60.0
    device: str = "cpu"
    dtype: str = "float32"
