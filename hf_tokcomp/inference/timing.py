"""Time the phases of a `generate` call: up to the first token, and after it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from transformers import LogitsProcessor


@dataclass(frozen=True)
class Seconds:
    """Wall-clock seconds of a batch, by phase.

    Args:
        features: in the processor: mel features and tokenization.
        prefill: up to the first token: audio encoder, compression, and the language model's pass over the prompt.
        decode: the tokens after the first.
        speech: speaking the text, after its last token; 0 if it is not spoken.
    """

    features: float
    prefill: float
    decode: float
    speech: float = 0.0

    @property
    def total(self) -> float:
        return self.features + self.prefill + self.decode + self.speech

    def to_dict(self) -> dict[str, float]:
        values = {"features": self.features, "prefill": self.prefill, "decode": self.decode}
        values |= {"speech": self.speech} if self.speech else {}
        return {name: round(value, 4) for name, value in (values | {"total": self.total}).items()}


class FirstToken(LogitsProcessor):  # type: ignore[misc]
    """Records when the scores of the first and of the last token are available; leaves them unchanged."""

    def __init__(self) -> None:
        self.at = self.last = 0.0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if not self.at:
            wait_for(scores.device)
            self.at = time.perf_counter()
        self.last = time.perf_counter()
        return scores


class Clock:
    """Times one call of ``generate``: `begin`, then ``first_token`` among its logits processors, then `end`."""

    def __init__(self) -> None:
        self.first_token = FirstToken()
        self._begun = self._ended = 0.0

    def begin(self, device: torch.device) -> None:
        """Start the clock, after the device has finished its pending work."""
        wait_for(device)
        self._begun = time.perf_counter()

    def end(self, device: torch.device) -> None:
        """Stop, after the last token."""
        wait_for(device)
        self._ended = time.perf_counter()

    def seconds(self, features: float = 0.0, spoken: bool = False) -> Seconds:
        """The phases of the call, including the time the processor took before it.

        Args:
            features: that time.
            spoken: whether the text was spoken after it was written.
        """
        first, written = self.first_token.at, self.first_token.last if spoken else self._ended
        return Seconds(features, first - self._begun, written - first, self._ended - written)


def wait_for(device: torch.device) -> None:
    """Wait until the device has finished its pending work, so that timings are correct."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
