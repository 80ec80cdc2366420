"""The bound of a decoding step: the time that its bytes or its operations take at least on this device.

A step has one token per stream. For it, all weights that run are read once, for all streams together, and the keys and
values of every stream, for that stream alone. Each weight read serves two operations per stream, each cached value two,
whatever the batch. A processor does many more operations in the time in which it reads a value, so reading is what a
step takes, until a batch is large and the caches are small. Which of both it is, is decided by two measured rates.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from ..measure import FEWEST
from ..speed.phases import clock

MATRIX_BYTES = 2**30
"""Size of the matrix that the rates are measured with: more than caches of processors hold."""
ROWS = 128
"""Rows that are multiplied with it at once, so that operations and not reading take the time."""


@dataclass(frozen=True)
class Rates:
    """What a device reads and computes in a second.

    Args:
        bytes: of a matrix that is multiplied with one vector.
        operations: of the product of that matrix with many.
    """

    bytes: float
    operations: float

    @classmethod
    def measured(cls, device: torch.device, dtype: torch.dtype) -> Rates:
        """The rates of a device in a precision."""
        width = round((MATRIX_BYTES / dtype.itemsize) ** 0.5)
        matrix = torch.ones(width, width, device=device, dtype=dtype)
        alone, many = (torch.ones(rows, width, device=device, dtype=dtype) for rows in (1, ROWS))
        now = clock(device)
        return cls(
            matrix.nbytes / _seconds(lambda: torch.nn.functional.linear(alone, matrix), now),
            2 * ROWS * width**2 / _seconds(lambda: torch.nn.functional.linear(many, matrix), now),
        )

    @property
    def balance(self) -> float:
        """Operations in the time of reading a byte. A step with fewer is bound by its bytes."""
        return self.operations / self.bytes

    def to_dict(self) -> dict[str, float]:
        return {**asdict(self), "balance": self.balance}


@dataclass(frozen=True)
class Step:
    """The work of one step of decoding, for all streams together.

    Args:
        operations: matrix products and attention.
        weight_bytes: weights that run.
        cross_bytes: cached keys and values of the encoder's output.
        self_bytes: those of the text.
    """

    operations: float
    weight_bytes: int
    cross_bytes: int
    self_bytes: int

    @property
    def bytes(self) -> int:
        """What the step must read."""
        return self.weight_bytes + self.cross_bytes + self.self_bytes

    def to_dict(self) -> dict[str, float]:
        return {**asdict(self), "bytes": self.bytes, "operations_per_byte": self.operations / self.bytes}


@dataclass(frozen=True)
class Bound:
    """How many times as fast as an uncompressed step a compressed one can be.

    Args:
        times_none: by what takes longer on this device, before and after.
        by: what takes longer after: the bytes, or the operations.
        seconds: the time that it takes, at the measured rate.
        bytes: the ratio of the bytes of both steps.
        operations: the ratio of their operations.
    """

    times_none: float
    by: Literal["bytes", "operations"]
    seconds: float
    bytes: float
    operations: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def bound(none: Step, compressed: Step, rates: Rates) -> Bound:
    """The bound of a compressed step beside the uncompressed one, on a device with these rates."""
    (before, _), (after, by) = (_least(step, rates) for step in (none, compressed))
    return Bound(before / after, by, after, none.bytes / compressed.bytes, none.operations / compressed.operations)


def _least(step: Step, rates: Rates) -> tuple[float, Literal["bytes", "operations"]]:
    reading, computing = step.bytes / rates.bytes, step.operations / rates.operations
    return (reading, "bytes") if reading >= computing else (computing, "operations")


def _seconds(call: Callable[[], Any], now: Callable[[], float]) -> float:
    """The median time of a call, after one that does not count."""
    call()
    found = []
    for _ in range(FEWEST):
        begin = now()
        call()
        found.append(now() - begin)
    return statistics.median(found)
