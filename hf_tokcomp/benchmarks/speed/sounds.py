"""Sounds to measure with: drawn, since speed hardly depends on what is to be heard."""

from __future__ import annotations

import numpy as np

from ...audio.loading import Samples


def draw_sound(seconds: float, rate: int, seed: int = 0) -> Samples:
    """``(samples,)`` of gliding tones with noise, and a pause in every three seconds.

    Args:
        seconds: its length.
        rate: samples per second.
        seed: another one is another sound.
    """
    draws = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate), dtype=np.float32) / rate
    tone = np.sin(2 * np.pi * (150 + 40 * seed + 90 * np.sin(0.7 * time)) * time)
    loud = (time % 3.0 < 2.4).astype(np.float32)
    return (loud * (0.4 * tone + 0.05 * draws.standard_normal(time.size))).astype(np.float32)


def lengths_of(seconds: float, audios: int, ragged: bool) -> list[float]:
    """Seconds of each audio of a batch: all alike, or in equal steps up to the longest, shuffled."""
    if not ragged:
        return [seconds] * audios
    steps = [seconds * (number + 1) / audios for number in range(audios)]
    return [*steps[1::2], *steps[0::2]]
