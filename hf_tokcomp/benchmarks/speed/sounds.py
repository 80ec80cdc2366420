"""Synthetic sounds for benchmarks, since speed hardly depends on the content."""

from __future__ import annotations

import numpy as np

from ...audio.loading import Samples


def draw_sound(seconds: float, rate: int, seed: int = 0) -> Samples:
    """``(samples,)`` of gliding tones with noise, with a pause every three seconds.

    Args:
        seconds: length of the sound.
        rate: samples per second.
        seed: random seed; each seed gives a different sound.
    """
    draws = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate), dtype=np.float32) / rate
    tone = np.sin(2 * np.pi * (150 + 40 * seed + 90 * np.sin(0.7 * time)) * time)
    loud = (time % 3.0 < 2.4).astype(np.float32)
    return (loud * (0.4 * tone + 0.05 * draws.standard_normal(time.size))).astype(np.float32)


def lengths_of(seconds: float, audios: int, ragged: bool) -> list[float]:
    """Length in seconds of each audio of a batch: all equal, or in equal steps up to the longest, shuffled."""
    if not ragged:
        return [seconds] * audios
    steps = [seconds * (number + 1) / audios for number in range(audios)]
    return [*steps[1::2], *steps[0::2]]
