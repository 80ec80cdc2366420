"""Which windows of a ragged batch run through the encoder together, so that short ones do not pay for long ones."""

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
"""Mel frames that a run of the encoder costs on a CPU beside its windows' own: what starting its operations takes.

Measured on the shipped model (two cores: 1.2 ms a run and 1.0 ms for 100 frames); larger encoders gain earlier.
"""
LARGEST_RUN = 2000
"""Mel frames of a run of several windows on a CPU. Longer windows run one by one: that takes no longer, and needs the
memory of one. On the shipped model eight windows of 10 s then need 9 MiB and not 31."""


def runs(frames: list[int], device: torch.device) -> list[list[int]]:
    """The windows of each run, so that the frames computed, padding included, and the runs cost least together.

    Only a CPU takes several: what a run costs was not measured elsewhere, and the weights of an encoder that is
    offloaded would be fetched for each. Several processes always take one, since those that share an encoder's weights
    must call it equally often.

    Args:
        frames: valid mel frames of each window.
        device: where the encoder's weights are.

    Returns:
        Indices of windows, rising within a run; every window is in one run.
    """
    if device.type != "cpu" or (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [list(range(len(frames)))]
    order = sorted(range(len(frames)), key=lambda window: frames[window])
    # By length, a run is a stretch of that order: what the first so many cost, and where the last run of those begins.
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
    """Encode run by run; what is behind the tokens of a shorter run is 0. Gradients flow through.

    Args:
        encode: some windows to what the encoder makes of them.
        windows: all of them.
        device: where the encoder's weights are; None for all windows in one run.
    """
    plan = [] if device is None else runs(windows.frames, device)
    if len(plan) <= 1:
        return encode(windows)
    return _joined([encode(windows.select(run)) for run in plan], plan)


def _joined(parts: list[EncodedWindows], windows: list[list[int]]) -> EncodedWindows:
    """The windows of all runs in their own order."""
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
    """``(windows, tokens, ...)`` to ``(windows, width, ...)``."""
    missing = width - values.shape[1]
    return torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], 1) if missing else values
