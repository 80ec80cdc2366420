"""Data of a plot: a spectrogram and a panel per method, as plain arrays independent of the model's device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..audio.loading import load_audio
from ..ops.record import CompressionRecord

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
RATE = 16_000


@dataclass(eq=False)
class Spectrogram:
    """A log-mel spectrogram.

    Args:
        values: ``(mel bins, frames)``, on a logarithmic scale.
        seconds: length of the part shown, and of the time axis.
        frequencies: ``(mel bins,)`` Hz; None if unknown, in which case the axis counts bins.
        frame_rate: frames per second.
        whole: length of the audio if the plot shows only part of it, which the plot then says; otherwise None.

    Example:
        >>> from hf_tokcomp.plotting import Spectrogram
        >>> round(Spectrogram.of_audio("question.wav").seconds, 2)
        5.07
    """

    values: Floats
    seconds: float
    frequencies: Floats | None = None
    frame_rate: float = 100.0
    whole: float | None = None

    def __post_init__(self) -> None:
        self.values = np.asarray(self.values, dtype=np.float64)
        if self.values.ndim != 2 or not self.values.size or not self.seconds > 0:
            raise ValueError(
                f"A spectrogram is (mel bins, frames) of more than 0 s; got {self.values.shape} and {self.seconds} s."
            )

    @classmethod
    def of_audio(cls, audio: Any) -> Spectrogram:
        """From audio in any form that `hf_tokcomp.audio.load_audio` takes; an array is assumed to be at 16 kHz."""
        from transformers import WhisperFeatureExtractor

        samples = load_audio(audio, RATE)
        extractor: Any = WhisperFeatureExtractor(feature_size=80, sampling_rate=RATE)
        # One window as long as the audio. Very short audio must fill at least one frame of the Fourier transform.
        padded = np.pad(samples, (0, max(0, extractor.n_fft - len(samples))))
        features = extractor(padded, sampling_rate=RATE, padding="do_not_pad", truncation=False, return_tensors="np")
        return cls.of_features(extractor, features["input_features"], None, len(samples) / RATE)

    @classmethod
    def of_features(cls, extractor: Any, features: ArrayLike, mask: ArrayLike | None, seconds: float) -> Spectrogram:
        """From the exact features a model receives.

        Args:
            extractor: the processor's feature extractor; one that does not show its filters has no frequencies.
            features: ``(windows, mel bins, frames)``, one audio's windows.
            mask: ``(windows, frames)``, 0 for padding; None if there is no padding.
            seconds: length of the audio. A part cut off by the extractor is not shown, and the plot says so.
        """
        windows = np.asarray(features, dtype=np.float64)
        values = windows.transpose(1, 0, 2).reshape(windows.shape[1], -1)
        if mask is not None:
            values = values[:, np.asarray(mask).reshape(-1) > 0]
        rate = extractor.sampling_rate / getattr(extractor, "hop_length", extractor.sampling_rate // 100)
        filters, frequencies = extractor.mel_filters, None
        if isinstance(filters, np.ndarray):  # (frequencies up to half the sampling rate, mel bins)
            hertz = np.linspace(0, extractor.sampling_rate / 2, len(filters))
            # The centre of each triangular filter; low ones are so narrow that their peaks would coincide.
            middle = (hertz[:, None] * filters).sum(0) / np.maximum(filters.sum(0), 1e-12)
            frequencies = np.maximum.accumulate(middle)
        shown = values.shape[1] / rate
        cut = seconds - shown > 1.5 / rate  # less than that is an incomplete last frame
        length, whole = (shown, seconds) if cut else (seconds, None)
        return cls(values, length, frequencies, rate, whole)


@dataclass(eq=False)
class Panel:
    """The panel of one method in a plot.

    Args:
        name: heading, usually the key of the method.
        tokens_before: number of audio tokens before compression.
        tokens_after: number of tokens kept.
        slot: ``(tokens_before,)`` each token's slot, -1 for a dropped token; None for a method that does not map
            tokens to slots.
        position: ``(slots,)`` each slot's position in original tokens; None for the mean of its members.
        attention: ``(tokens_before,)`` attention received, drawn as a curve; None for no curve.
        text: the model's answer; None for no text.
        tokens_asked: number of tokens allowed by the budget, of which a method may keep fewer; None without a budget.

    Raises:
        ValueError: the arrays do not fit the counts.

    Example:
        >>> from hf_tokcomp.plotting import Panel
        >>> model = hf_tokcomp.patch(model, "stride")
        >>> answer = model.generate(**inputs)
        >>> Panel.of_record("stride", model.audio_compressor.last).tokens_after
        64
    """

    name: str
    tokens_before: int
    tokens_after: int
    slot: Integers | None = None
    position: Integers | None = None
    attention: Floats | None = None
    text: str | None = None
    tokens_asked: int | None = None

    def __post_init__(self) -> None:
        if self.slot is not None:
            self.slot = np.asarray(self.slot, dtype=np.int64)
            self._check("slot", self.slot, self.tokens_before)
            if self.slot.size and not -1 <= self.slot.min() <= self.slot.max() < self.tokens_after:
                raise ValueError(f"{self.name}: slots go from -1 to {self.tokens_after - 1}.")
            if self.position is None:
                members = np.bincount(self.slot + 1, minlength=self.tokens_after + 1)[1:]
                total = np.bincount(self.slot + 1, np.arange(self.tokens_before), self.tokens_after + 1)[1:]
                self.position = (total // np.maximum(members, 1)).astype(np.int64)
            self.position = np.asarray(self.position, dtype=np.int64)
            self._check("position", self.position, self.tokens_after)
        if self.attention is not None:
            self.attention = np.asarray(self.attention, dtype=np.float64)
            self._check("attention", self.attention, self.tokens_before)

    def _check(self, what: str, values: NDArray[Any], count: int) -> None:
        if values.shape != (count,):
            raise ValueError(f"{self.name}: `{what}` has the shape {values.shape}, not ({count},).")

    @classmethod
    def of_record(
        cls,
        name: str,
        record: CompressionRecord,
        row: int = 0,
        attention: ArrayLike | None = None,
        text: str | None = None,
        tokens_asked: int | None = None,
    ) -> Panel:
        """From ``model.audio_compressor.last``.

        Args:
            name: heading.
            record: the record of a call.
            row: index of the audio.
            attention: ``(tokens,)`` attention received.
            text: the model's answer.
            tokens_asked: number of tokens allowed by the budget.
        """
        before, after = record.sound_before[row], record.sound_after[row]  # no padding, where a model reads some
        slot = position = None
        if record.assignment is not None:
            slot = record.assignment.slot[row, :before].cpu().numpy()
            position = record.assignment.position[row, :after].cpu().numpy()
        elif before == after:  # `none`
            slot = position = np.arange(before)
        scores = None if attention is None else np.asarray(attention, dtype=np.float64)
        return cls(name, before, after, slot, position, scores, text, tokens_asked)
