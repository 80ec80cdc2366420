"""The phases of a real call: what a clock or a counter shows where the encoder, the projector and the head are called.

``generate`` runs as it always does. Hooks on the modules between the phases read the meter; what lies between two
readings is a phase, so the phases of a call add up to the whole of it.
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
"""What a call does until the first token's scores are there."""


@dataclass
class Readings:
    """What the meter showed; the lists grow with every call of the module."""

    start: float
    encoder_begin: list[float] = field(default_factory=list)
    encoder_end: list[float] = field(default_factory=list)
    projector_begin: list[float] = field(default_factory=list)
    projector_end: list[float] = field(default_factory=list)
    head_end: list[float] = field(default_factory=list)

    def phases(self, compresses: bool) -> dict[str, float]:
        """The differences, by phase.

        Args:
            compresses: whether the prompt was shortened before the model's own code began. Then all that happened
                around the encoder is the compressor's, from reading the prompt to shortening it; else it belongs to
                the prefill.
        """
        # Windows of unlike lengths have runs of the encoder of their own, and attention scores are taken after each.
        encoder = sum(end - begin for begin, end in zip(self.encoder_begin, self.encoder_end, strict=True))
        # A method that looks at projected features calls the projector before it chooses, too: the last call counts.
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
    """Within the ``with`` block, read the meter wherever a phase of a call begins or ends.

    Args:
        parts: the modules.
        meter: what to read; it is asked once at the start, too.
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
    """Seconds, after the device has done what it was asked to."""

    def now() -> float:
        wait_for(device)
        return time.perf_counter()

    return now


@contextmanager
def first_call(head: nn.Module, meter: Callable[[], float]) -> Iterator[list[float]]:
    """Within the ``with`` block, read the meter when the head has returned for the first time, and never again."""
    seen: list[float] = []

    def hook(*_: Any) -> None:
        if not seen:
            seen.append(meter())

    handle = head.register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()
