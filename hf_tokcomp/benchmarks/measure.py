"""Measuring tools: interleaved repeats, their spread, peak memory, and growth with the length."""

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
"""Minimum number of repeats of a measurement, whatever the time limit."""


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


def in_turns(calls: Mapping[Any, Callable[[], Any]], seconds: float, rounds: int = FEWEST) -> dict[Any, Any]:
    """Call everything in turns, so that other load on the machine affects all calls equally.

    Args:
        calls: the calls to measure; each returns its result. Every round starts with a different one.
        seconds: time limit, after which no round starts except to reach the minimum.
        rounds: minimum number of rounds.

    Returns:
        A list of results per key, one per round.
    """
    results: dict[Any, Any] = {key: [] for key in calls}
    order, start, done = list(calls), time.perf_counter(), 0
    while done < rounds or time.perf_counter() - start < seconds:
        for key in order:
            results[key].append(calls[key]())
        order, done = order[1:] + order[:1], done + 1
    return results


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int:
    """Peak bytes of tensors created during the call, not counting those that existed before it.

    On a GPU the allocator reports this. On a CPU the profiler records every allocation, including temporary ones inside
    operations; memory held by libraries (BLAS) is not visible.
    """
    if device.type == "cuda":
        wait_for(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        wait_for(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # otherwise the profiler reports every start and stop on stderr
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
    """Silence the profiler's warnings on stderr about memory older than itself, which is ignored on purpose."""
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
    """The peak of allocations and releases ``(time, address, bytes)``; releases of older memory are ignored."""
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
    """The exponent p of the best-fitting power ``c * length ** p``, by least squares of the logarithms."""
    x, y = [math.log(value) for value in lengths], [math.log(value) for value in seconds]
    return statistics.linear_regression(x, y).slope
