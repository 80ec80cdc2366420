"""The phases of a real call, from readings of a clock or counter when the encoder, projector and head are called.

``generate`` runs unchanged. Hooks on the modules between the phases read the meter; a phase is the difference between
two readings, so the phases of a call add up to the whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...inference.timing import wait_for
from ...models.base import Parts

PHASES = ("encoder", "compressor", "projector", "prefill")
"""The phases of a call until the scores of the first token are available."""


@dataclass
class Readings:
    """Readings of the meter; the lists get one entry per call of the module."""

    start: float
    encoder_begin: list[float] = field(default_factory=list)
    encoder_end: list[float] = field(default_factory=list)
    projector_begin: list[float] = field(default_factory=list)
    projector_end: list[float] = field(default_factory=list)
    head_end: list[float] = field(default_factory=list)

    def phases(self, compresses: bool) -> dict[str, float]:
        """The differences, by phase.

        Args:
            compresses: whether the prompt was shortened before the model's own code started. If so, everything around
                the encoder, from reading the prompt to shortening it, counts as the compressor; otherwise it belongs to
                the prefill.
        """
        # Windows of different lengths are encoded in separate runs, and attention scores are taken after each.
        encoder = sum(end - begin for begin, end in zip(self.encoder_begin, self.encoder_end, strict=True))
        # A method that uses projected features also calls the projector before it selects: the last call counts.
        around = self.projector_begin[-1] - self.start - encoder
        after = self.head_end[0] - self.projector_end[-1]
        return {
            "encoder": encoder,
            "compressor": around if compresses else 0.0,
            "projector": self.projector_end[-1] - self.projector_begin[-1],
            "prefill": after if compresses else around + after,
        }


@contextmanager
def read_between(parts: Parts, meter: Callable[[], float]) -> Iterator[Readings]:
    """Within the ``with`` block, read the meter wherever a phase of a call starts or ends.

    Args:
        parts: the modules.
        meter: the meter; it is also read once at the start.
    """
    readings = Readings(meter())

    def note(values: list[float]) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            values.append(meter())

        return hook

    places: list[tuple[Any, list[float]]] = [
        (parts.encoder_begin.register_forward_pre_hook, readings.encoder_begin),
        (parts.encoder_end.register_forward_hook, readings.encoder_end),
        (parts.projector.register_forward_pre_hook, readings.projector_begin),
        (parts.projector.register_forward_hook, readings.projector_end),
        (parts.head.register_forward_hook, readings.head_end),
    ]
    handles = [register(note(values)) for register, values in places]
    try:
        yield readings
    finally:
        for handle in handles:
            handle.remove()


def clock(device: torch.device) -> Callable[[], float]:
    """A clock in seconds that first waits for the device to finish."""

    def now() -> float:
        wait_for(device)
        return time.perf_counter()

    return now


@contextmanager
def first_call(head: nn.Module, meter: Callable[[], float]) -> Iterator[list[float]]:
    """Within the ``with`` block, read the meter once, when the head returns for the first time."""
    seen: list[float] = []

    def hook(*_: Any) -> None:
        if not seen:
            seen.append(meter())

    handle = head.register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()
