"""Peaks of curves: where they are, how prominent, and which of them stay when some are too near each other.

Curves are ``(audios, places)``. Places beyond a curve's end hold +inf, which no peak reaches over.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .device import on_device


def is_peak(heights: Tensor) -> Tensor:
    """``(audios, places)`` bool: higher than both neighbours, and none of them is beyond the end. Plateaus are none."""
    inside = pad(heights, (1, 1), value=torch.inf)
    return (heights > inside[:, :-2]) & (heights > inside[:, 2:]) & heights.isfinite()


def prominences(heights: Tensor) -> Tensor:
    """How far each place stands above its surroundings, as ``scipy.signal.peak_prominences`` defines it for peaks.

    From a place one walks to either side until something is strictly higher, or the curve ends, and notes the lowest
    height on the way. The prominence is the height above the higher of these two.

    Args:
        heights: ``(audios, places)`` float, no NaN.

    Returns:
        ``(audios, places)``, 0 beyond the end.
    """
    lows = torch.maximum(_lowest_before(heights), _lowest_before(heights.flip(1)).flip(1))
    return torch.where(heights.isfinite(), heights - lows, 0)


def _lowest_before(heights: Tensor) -> Tensor:
    """The lowest height on the way from each place to the left, itself included, before something higher comes."""
    # Level j: the highest and the lowest of the 2^j heights that end at each place.
    tops, bottoms = [heights], [heights]
    while (step := 1 << (len(tops) - 1)) < heights.shape[1]:
        tops.append(torch.maximum(tops[-1], pad(tops[-1][:, :-step], (step, 0), value=torch.inf)))
        bottoms.append(torch.minimum(bottoms[-1], pad(bottoms[-1][:, :-step], (step, 0), value=torch.inf)))
    lowest = heights
    before = torch.arange(heights.shape[1], device=heights.device).expand_as(heights) - 1
    # From the longest stretch to the shortest: a stretch that holds nothing higher is walked over.
    for level in reversed(range(len(tops))):
        at = before.clamp(min=0)
        free = (before >= 0) & (tops[level].gather(1, at) <= heights)
        lowest = torch.where(free, torch.minimum(lowest, bottoms[level].gather(1, at)), lowest)
        before = torch.where(free, before - (1 << level), before)
    return lowest


def well_spaced(rank: Tensor, peaks: Tensor, gaps: list[int]) -> Tensor:
    """Taken in order of ``rank``, those peaks that are at least a gap away from all that were taken before.

    In a round, every peak is taken that is the best within its reach, and what is in reach of it falls away; that gives
    what taking them one by one gives. A round reads one flag from the device; there are few, but for curves that rise
    peak by peak.

    Args:
        rank: ``(audios, places)`` long, distinct within an audio, 0 the best.
        peaks: ``(audios, places)`` bool.
        gaps: places between two that are taken, at least, of each audio.
    """
    reach = [min(gap - 1, rank.shape[1]) for gap in gaps]
    taken = torch.zeros_like(peaks)
    left = peaks
    while bool(left.any()):
        key = torch.where(left, rank.shape[1] - rank, 0)
        best = left & (key == _largest_within(key, reach))
        taken = taken | best
        left = left & (_largest_within(best.long(), reach) == 0)
    return taken


def _largest_within(values: Tensor, reach: list[int]) -> Tensor:
    """The largest of the values (>= 0) that are at most ``reach[audio]`` places away."""
    most = max(reach)
    # Level j: the largest of the 2^j values from each place on.
    levels = [pad(values, (most, most))]
    while (step := 1 << (len(levels) - 1)) <= most:
        levels.append(torch.maximum(levels[-1], pad(levels[-1][:, step:], (0, step))))
    level = [(2 * r + 1).bit_length() - 1 for r in reach]
    rows = torch.arange(len(reach), device=values.device)
    table = torch.stack(levels)[on_device(level, values.device), rows]
    index = torch.arange(values.shape[1], device=values.device)
    first = on_device([most - r for r in reach], values.device)[:, None] + index
    last = on_device([most + r + 1 - (1 << j) for r, j in zip(reach, level, strict=True)], values.device)
    return torch.maximum(table.gather(1, first), table.gather(1, last[:, None] + index))
