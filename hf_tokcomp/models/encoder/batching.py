"""Grouping the windows of a ragged batch into encoder runs, so that short windows are not padded to long ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...ops.device import on_device
from ..base import EncodedWindows
from ..windows import Windows

FRAMES_PER_RUN = 100
"""Fixed cost of an encoder run on a CPU, in mel frames: the overhead of starting its operations.

Measured on the shipped model (two cores: 1.2 ms per run and 1.0 ms per 100 frames); larger encoders benefit sooner.
"""
LARGEST_RUN = 2000
"""Maximum mel frames in a run of several windows on a CPU. Longer windows run one by one, which takes no longer and
needs memory for only one: on the shipped model, eight windows of 10 s need 9 MiB instead of 31."""


def runs(frames: list[int], device: torch.device) -> list[list[int]]:
    """Group windows into runs with the lowest total cost of frames, including padding, and per-run overhead.

    Several runs are used only on a CPU: the overhead was not measured elsewhere, and an offloaded encoder's weights
    would be fetched for each run. With several processes there is always one run, since processes that share an
    encoder's weights must call it equally often.

    Args:
        frames: number of valid mel frames in each window.
        device: device of the encoder's weights.

    Returns:
        Indices of the windows in each run, in ascending order; every window is in exactly one run.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if device.type != "cpu" or (distributed and torch.distributed.get_world_size() > 1):
        return [list(range(len(frames)))]
    order = sorted(range(len(frames)), key=lambda window: frames[window])
    # Sorted by length, a run is a contiguous range: the cost of the first n windows, and where their last run begins.
    cost, begins = [0], [0]
    for end, window in enumerate(order, 1):
        longest = frames[window]
        first = max(0, min(end - 1, end - LARGEST_RUN // max(1, longest)))
        least, begin = min(
            (cost[begin] + FRAMES_PER_RUN + (end - begin) * longest, begin) for begin in range(first, end)
        )
        cost.append(least)
        begins.append(begin)
    found, end = [], len(order)
    while end:
        found.append(sorted(order[begins[end] : end]))
        end = begins[end]
    return found or [[]]


def in_runs(
    encode: Callable[[Windows], EncodedWindows], windows: Windows, device: torch.device | None
) -> EncodedWindows:
    """Encode run by run; the outputs of shorter runs are padded with 0. Gradients flow through.

    Args:
        encode: encodes the windows of a run.
        windows: all windows.
        device: device of the encoder's weights; None for all windows in one run.
    """
    plan = [] if device is None else runs(windows.frames, device)
    if len(plan) <= 1:
        return encode(windows)
    return _joined([encode(windows.select(run)) for run in plan], plan)


def _joined(parts: list[EncodedWindows], windows: list[list[int]]) -> EncodedWindows:
    """Join the windows of all runs in their original order."""
    place = [window for run in windows for window in run]
    back = sorted(range(len(place)), key=place.__getitem__)
    width = max(part.features.shape[1] for part in parts)

    def join(values: list[Tensor]) -> Tensor:
        padded = [_to_width(value, width) for value in values]
        return torch.cat(padded).index_select(0, on_device(back, values[0].device))

    fields: dict[str, Any] = {}
    for field in dataclasses.fields(EncodedWindows):
        values = [getattr(part, field.name) for part in parts]
        fields[field.name] = None if values[0] is None else join(values)
    return EncodedWindows(**fields)


def _to_width(values: Tensor, width: int) -> Tensor:
    """Pad ``(windows, tokens, ...)`` with 0 to ``(windows, width, ...)``."""
    missing = width - values.shape[1]
    return torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], 1) if missing else values
