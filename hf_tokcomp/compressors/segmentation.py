"""segmentation: one token per stretch of similar tokens, cut where neighbours differ most (arXiv 2511.20973)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..config.checks import option
from ..config.config import BUDGETS, CompressionConfig
from ..errors import CompressionConfigError
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from ..ops.ranking import descending_rank
from ..ops.segments import halve_longest, slots, split_longer_than
from ..ops.similarity import cosine_to_next, finite
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(CompressionConfig):
    """Config of segmentation. Without a budget, one token is left per segment of the audio.

    Example:
        >>> hf_tokcomp.SegmentationConfig(tokens_per_second=5).output_length(750, 25.0)
        150
        >>> hf_tokcomp.SegmentationConfig(min_duration=0.2).deterministic_length  # without a budget the content decides
        False
    """

    method: str = "segmentation"
    min_duration: float | None = option(
        None, above=0, help="shortest segment in seconds, > 0; only without a budget. None for no limit"
    )
    max_duration: float | None = option(
        None, above=0, help="longest segment in seconds, no shorter than min_duration; only without a budget"
    )
    default_retention_ratio: ClassVar[float | None] = None
    instead_of_budget: ClassVar[tuple[str, ...]] = ("min_duration", "max_duration")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("min_duration", "max_duration") if getattr(self, name) is not None]
        if given and self.deterministic_length:
            budget = next(name for name in BUDGETS if getattr(self, name) is not None)
            raise CompressionConfigError(
                f"With a budget, the budget determines the segments; leave out {budget} or {' and '.join(given)}."
            )
        if len(given) == 2 and self.min_duration > self.max_duration:  # type: ignore[operator]
            raise CompressionConfigError(
                f"min_duration={self.min_duration!r} must be at most max_duration={self.max_duration!r}."
            )

    @property
    def deterministic_length(self) -> bool:
        """Whether there is a budget, which then determines the number of segments."""
        return any(getattr(self, name) is not None for name in BUDGETS)


@register_compressor(SegmentationConfig)
class Segmentation(AudioTokenCompressor[SegmentationConfig]):
    """Averages the stretches between the places where neighbours differ most.

    Source: arXiv 2511.20973, known to us from summaries: d_t = 1 - cos(x_t, x_t+1), and a boundary after t where
    d_t-1 < d_t > d_t+1. The rest is our reading. A segment becomes its mean; plateaus are not peaks; an audio of fewer
    than four tokens is one segment. With a budget the K - 1 most prominent boundaries are taken, with prominence as in
    `scipy.signal.peak_prominences`, ties to the earlier; if there are fewer, the longest segment (the earliest of
    equals) is split in two, the first half getting the odd token, until there are K. With ``min_duration``, boundaries
    are taken in order of decreasing prominence, ties to the earlier, if both neighbours stay that long; with
    ``max_duration``, longer segments are then split into as few equal parts as necessary, longer parts first, even if
    they fall below ``min_duration``.
    """

    family = "pooling"
    source = "arXiv 2511.20973"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        peaks, rank = self._boundaries(tokens)
        opens = torch.zeros_like(tokens.mask)
        opens[:, 0] = True  # the method gets audios of at least two tokens
        if self.config.deterministic_length:
            wanted = on_device(counts, opens.device)
            opens[:, 1:] = peaks & (rank < wanted[:, None] - 1)
            return Assignment.mean(slots(halve_longest(opens, tokens.mask, wanted), tokens.mask), wanted, max(counts))
        opens[:, 1:] = peaks if self.config.min_duration is None else self._far_apart(tokens, peaks, rank)
        if self.config.max_duration is not None:
            limit = max(tokens.counts)  # longer makes no difference
            longest = [min(self.config.max_duration * rate, limit) for rate in tokens.known_rates("max_duration")]
            most = [max(1, math.floor(number + 1e-6)) for number in longest]
            opens = split_longer_than(opens, tokens.mask, on_device(most, opens.device))
        lengths = opens.sum(1)
        return Assignment.mean(slots(opens, tokens.mask), lengths, int(lengths.max()))

    def _boundaries(self, tokens: AudioTokens) -> tuple[Tensor, Tensor]:
        """``(audios, tokens - 1)`` each: whether a segment may end after a token, and the rank of that boundary."""
        # Cosines are multiples of 2^-20, so distances and prominences are exact.
        distance = 1 - cosine_to_next(finite(tokens.features))
        distance = torch.where(tokens.mask[:, 1:], distance, torch.inf)
        peaks = is_peak(distance)
        return peaks, descending_rank(prominences(distance), peaks)

    def _far_apart(self, tokens: AudioTokens, peaks: Tensor, rank: Tensor) -> Tensor:
        shortest = self.config.min_duration or 0.0
        limit = max(tokens.counts) + 1  # longer makes no difference
        gaps = [max(1, math.ceil(min(shortest * rate, limit) - 1e-6)) for rate in tokens.known_rates("min_duration")]
        gap = on_device(gaps, peaks.device)[:, None]
        before = torch.arange(1, peaks.shape[1] + 1, device=peaks.device)
        inside = (before >= gap) & (tokens.lengths[:, None] - before >= gap)
        return well_spaced(rank, peaks & inside, gaps)


def is_peak(heights: Tensor) -> Tensor:
    """``(audios, places)`` bool: higher than both neighbours, and not at the end. Plateaus do not count.

    Places beyond a curve's end hold +inf, which is higher than any peak.
    """
    inside = pad(heights, (1, 1), value=torch.inf)
    return (heights > inside[:, :-2]) & (heights > inside[:, 2:]) & heights.isfinite()


def prominences(heights: Tensor) -> Tensor:
    """The prominence of each place, as ``scipy.signal.peak_prominences`` defines it for peaks.

    Walk from a place to either side until something is strictly higher or the curve ends, and take the lowest height
    on the way. The prominence is the height above the higher of these two.

    Args:
        heights: ``(audios, places)`` float, no NaN.

    Returns:
        ``(audios, places)``, 0 beyond the end.
    """
    lows = torch.maximum(_lowest_before(heights), _lowest_before(heights.flip(1)).flip(1))
    return torch.where(heights.isfinite(), heights - lows, 0)


def _lowest_before(heights: Tensor) -> Tensor:
    """The lowest height from each place leftwards, itself included, before something higher comes."""
    # Level j: the highest and the lowest of the 2^j heights that end at each place.
    tops, bottoms = [heights], [heights]
    while (step := 1 << (len(tops) - 1)) < heights.shape[1]:
        tops.append(torch.maximum(tops[-1], pad(tops[-1][:, :-step], (step, 0), value=torch.inf)))
        bottoms.append(torch.minimum(bottoms[-1], pad(bottoms[-1][:, :-step], (step, 0), value=torch.inf)))
    lowest = heights
    before = torch.arange(heights.shape[1], device=heights.device).expand_as(heights) - 1
    # From the longest stretch to the shortest: skip a stretch that contains nothing higher.
    for level in reversed(range(len(tops))):
        at = before.clamp(min=0)
        free = (before >= 0) & (tops[level].gather(1, at) <= heights)
        lowest = torch.where(free, torch.minimum(lowest, bottoms[level].gather(1, at)), lowest)
        before = torch.where(free, before - (1 << level), before)
    return lowest


def well_spaced(rank: Tensor, peaks: Tensor, gaps: list[int]) -> Tensor:
    """The peaks, taken in order of ``rank``, that are at least a gap away from all peaks taken before.

    In a round, every peak that is the best within its reach is taken, and the others within that reach are discarded;
    the result is the same as taking them one by one. A round reads one flag from the device; there are few rounds,
    except for curves that rise peak by peak.

    Args:
        rank: ``(audios, places)`` long, distinct within an audio, 0 the best.
        peaks: ``(audios, places)`` bool.
        gaps: minimum distance of two taken peaks, per audio.
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
