"""Recordings longer than the window of a model that reads one: splitting them, and saying that they are cut off."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

from ..models.base import ModelPatch

logger = logging.getLogger(__name__)

_WARNED: WeakSet[Any] = WeakSet()
"""The processors that have said it: once is enough, and in a batch job a recording may be read many times."""


def windows_of_samples(processor: Any, patch: ModelPatch, samples: Any) -> list[Any]:
    """The samples ``(samples,)`` of an audio in windows of full length, the last of which may be shorter."""
    full = window_length(processor, patch)
    return [samples[start : start + full] for start in range(0, max(1, len(samples)), full)]


def window_length(processor: Any, patch: ModelPatch) -> int:
    """Number of samples in a full window."""
    return int(patch.longest_audio(processor) * patch.sampling_rate(processor))


def warn_of_cut(processor: Any, patch: ModelPatch, audio: Sequence[Any]) -> None:
    """Log a warning, once per processor, if it is about to cut off the end of an audio."""
    full = window_length(processor, patch)
    longest = max(map(len, audio), default=0)
    if longest <= full or processor in _WARNED:
        return
    _WARNED.add(processor)
    rate = patch.sampling_rate(processor)
    logger.warning(
        "A recording of %.1f s is cut: this model reads one window of %g s.%s Shown once.",
        *(longest / rate, full / rate, advice(patch)),
    )


def advice(patch: ModelPatch) -> str:
    """How all of a longer recording can be read, to end a message that says it is not; empty if it cannot."""
    return " With long_audio='windows' in the compression, it reads all of it." if patch.long_audio == "windows" else ""
