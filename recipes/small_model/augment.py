"""Augmentations that preserve the content of a recording: speed, level, noise, cropping, feature masks."""

import numpy as np
import torch

from hf_tokcomp.checkpoints.test_sets.sources import SAMPLE_RATE, Audio, level


def change_speed(audio: Audio, factor: float) -> Audio:
    """`audio` played `factor` times as fast (which shifts the pitch); linear interpolation suffices for training."""
    length = max(2, round(len(audio) / factor))
    return np.interp(np.linspace(0, len(audio) - 1, length), np.arange(len(audio)), audio).astype(np.float32)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A ratio between `low` and `high`, log-uniformly distributed."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def decibels(value: float) -> float:
    """The amplitude ratio of `value` dB."""
    return float(10 ** (value / 20))


class NoiseBank:
    """Segments of white to brown noise, made once, since colouring noise for every example would be slow."""

    def __init__(self, rng: np.random.Generator, seconds: int = 30, colours: int = 9) -> None:
        samples = seconds * SAMPLE_RATE
        self._noises = []
        for exponent in np.linspace(0, 1, colours):
            spectrum = np.fft.rfft(rng.standard_normal(samples))
            spectrum /= np.maximum(np.arange(len(spectrum)), 50.0) ** exponent
            noise = np.fft.irfft(spectrum, samples).astype(np.float32)
            self._noises.append(noise / level(noise))

    def draw(self, rng: np.random.Generator, samples: int) -> Audio:
        """`samples` of noise of one random colour, at level 1."""
        noise = self._noises[int(rng.integers(len(self._noises)))]
        start = int(rng.integers(0, len(noise) - samples))
        return noise[start : start + samples]

    def add(self, rng: np.random.Generator, audio: Audio, low: float, high: float) -> Audio:
        """`audio` with added noise, at a random signal-to-noise ratio between `low` and `high` dB."""
        return audio + self.draw(rng, len(audio)) * level(audio) * decibels(-rng.uniform(low, high))


def mix(rng: np.random.Generator, audio: Audio, other: Audio, low: float, high: float) -> Audio:
    """`audio` with `other`, looped or cut to its length, `low` to `high` dB below it."""
    start = int(rng.integers(0, len(other)))
    looped = np.resize(np.roll(other, -start), len(audio))
    return audio + looped * (level(audio) / level(looped)) * decibels(-rng.uniform(low, high))


def crop(rng: np.random.Generator, audio: Audio, shortest: float) -> Audio:
    """A random segment of at least `shortest` seconds that is not just the silence around the sound."""
    least = round(shortest * SAMPLE_RATE)
    if len(audio) <= least:
        return audio
    samples = int(rng.integers(least, len(audio) + 1))
    for _ in range(8):
        start = int(rng.integers(0, len(audio) - samples + 1))
        stretch = audio[start : start + samples]
        if level(stretch) >= 0.7 * level(audio):
            return stretch
    return audio


def equaliser(rng: np.random.Generator, bins: int, decibel: float = 8.0) -> torch.Tensor:
    """Power gains `(bins,)` of a smooth random filter of up to about `decibel` dB, simulating microphones and rooms."""
    knots = rng.uniform(-decibel, decibel, size=5)
    curve = np.interp(np.linspace(0, 4, bins), np.arange(5), knots)
    return torch.from_numpy(10 ** (curve / 10)).float()


def mask_features(
    rng: np.random.Generator, features: torch.Tensor, frames: int, longest: int, widest: int, number: int = 2
) -> None:
    """Overwrites, in place, random spans of one example's features `(bins, frames)` with their mean (SpecAugment).

    Up to `number` spans of at most `longest` frames, and as many of at most `widest` mel bins.
    """
    mean = features[:, :frames].mean()
    for _ in range(int(rng.integers(0, number + 1))):
        span = min(int(rng.integers(1, longest + 1)), frames)
        start = int(rng.integers(0, frames - span + 1))
        features[:, start : start + span] = mean
    for _ in range(int(rng.integers(0, number + 1))):
        width = int(rng.integers(1, widest + 1))
        low = int(rng.integers(0, features.shape[0] - width + 1))
        features[low : low + width] = mean
