"""Meters of what is measured: repeats in turns, their spread, peak memory, and growth with the length."""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..inference.timing import wait_for

FEWEST = 3
"""Repeats of a measurement, whatever the time limit."""


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


def in_turns(calls: Mapping[Any, Callable[[], Any]], seconds: float, rounds: int = FEWEST) -> dict[Any, Any]:
    """Call everything in turns, so that what else the machine does hits all alike.

    Args:
        calls: what is measured; each returns its result. Every round begins with another one.
        seconds: no round begins after this time, but for the first ones.
        rounds: how many there are in any case.

    Returns:
        A list of results per key, one for each round.
    """
    results: dict[Any, Any] = {key: [] for key in calls}
    order, start, done = list(calls), time.perf_counter(), 0
    while done < rounds or time.perf_counter() - start < seconds:
        for key in order:
            results[key].append(calls[key]())
        order, done = order[1:] + order[:1], done + 1
    return results


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int:
    """Most bytes that tensors made during the call held at once, beside those there were before it.

    On a GPU the allocator says so. On a CPU the profiler records every allocation, the temporary ones inside of an
    operation included; what libraries hold for themselves (BLAS) is not seen.
    """
    if device.type == "cuda":
        wait_for(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        wait_for(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler reports every start and stop on stderr
    profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)
    with _quiet(), profiler as profile:
        kept = call()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    del kept
    changes = [(e["ts"], e["args"]["Addr"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]"]
    return most_held(changes)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the profiler from telling stderr of memory that is older than itself, which is left out on purpose."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def most_held(changes: Sequence[tuple[float, int, int]]) -> int:
    """The peak of allocations and releases ``(time, address, bytes)``; releases of older memory do not count."""
    held: dict[int, int] = {}
    total = most = 0
    for _, address, size in sorted(changes, key=lambda change: change[0]):
        if size > 0:
            held[address] = size
            total += size
        else:
            total -= held.pop(address, 0)
        most = max(most, total)
    return most


def power(lengths: Sequence[float], seconds: Sequence[float]) -> float:
    """The exponent p of the power ``c * length ** p`` that fits best, by least squares of the logarithms."""
    x, y = [math.log(value) for value in lengths], [math.log(value) for value in seconds]
    return statistics.linear_regression(x, y).slope
