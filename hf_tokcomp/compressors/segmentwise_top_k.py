"""segmentwise_top_k: the most attended tokens of every stretch of time (arXiv 2511.14293, section 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from ..config.checks import known_rate, option
from ..config.config import CompressionConfig
from ..errors import CompressionConfigError
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from ..ops.ranking import ATTENTION, HEAD_NEEDS, HEADS_HELP, HeadReduction, descending_rank, invert
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class SegmentwiseTopKConfig(CompressionConfig):
    """Config of segmentwise top-k.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.SegmentwiseTopKConfig(retention_ratio=0.5, segments=10))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after  # 10 segments of 6
        [60]
    """

    method: str = "segmentwise_top_k"
    segments: int | Literal["budget"] = option(
        10,
        at_least=1,
        help="S, the number of equal segments; 1 is top_k, `budget` is one per token kept (figure 1 of the paper). The "
        "paper's sweep of 2 to 15 on MMAU was best at 10",
    )
    segment_seconds: float | None = option(
        None,
        above=0,
        help="sets S instead, so that segments last that long at most: ceil(duration / segment_seconds). `segments` is "
        "left at 10 then",
    )
    remainder: Literal["drop", "spread"] = option(
        "drop",
        help="`drop` keeps floor(K / S) tokens per segment, as the paper has it; `spread` gives what is left of K to "
        "the most attended tokens that were not kept",
    )
    head_reduction: HeadReduction = option("mean", needs=HEAD_NEEDS, help=HEADS_HELP)
    accepts_chunks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segment_seconds is not None and self.segments != 10:
            raise CompressionConfigError("Give segments or segment_seconds, not both.")

    def segments_of(self, n: int, count: int, frame_rate: float | None) -> int:
        """S for an audio of ``n`` tokens and a budget of ``count``."""
        if self.segments == "budget":
            return count
        wanted = self.segments
        if self.segment_seconds is not None:
            seconds = n / known_rate(frame_rate, "segment_seconds")
            wanted = max(1, math.ceil(round(min(seconds / self.segment_seconds, n), 9)))
        return min(wanted, count)

    def _reachable_count(self, n: int, count: int, frame_rate: float | None) -> int:
        if self.remainder == "spread":
            return count
        segments = self.segments_of(n, count, frame_rate)
        return segments * (count // segments)


@register_compressor(SegmentwiseTopKConfig)
class SegmentwiseTopK(AudioTokenCompressor[SegmentwiseTopKConfig]):
    """Keeps the most attended tokens of each of S segments.

    Source: arXiv 2511.14293, section 3.3: S contiguous segments, in each the floor(K / S) tokens with the largest
    attention received over the whole sequence. The floor can lose up to S - 1 tokens (6 s at 10 % keep 10 of 15), which
    `output_length` accounts for. Readings: token i is in segment ``i * S // N``; if K < S, S is K;
    ``remainder="spread"`` and ``segment_seconds`` are ours.
    """

    family = "pruning"
    source = "arXiv 2511.14293, section 3.3"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        device = tokens.features.device
        scores = tokens.need(ATTENTION[self.config.head_reduction])
        sizes = zip(tokens.counts, counts, tokens.frame_rates, strict=True)
        segments = on_device([self.config.segments_of(n, k, rate) for n, k, rate in sizes], device)
        lengths = on_device(counts, device)
        index = torch.arange(tokens.features.shape[1], device=device)
        segment = index * segments[:, None] // tokens.lengths[:, None]
        # Stable sorts, the more important one last: within each segment, by decreasing attention.
        rank = descending_rank(scores, tokens.mask)
        order = invert(rank)
        order = order.gather(1, segment.gather(1, order).argsort(dim=1, stable=True))
        # In this order segment s occupies its own indices, from ceil(s * N / S) on.
        start = -(-segment * tokens.lengths[:, None] // segments[:, None])
        rank_in_segment = invert(order) - start
        each = lengths // segments
        kept = (rank_in_segment < each[:, None]) & tokens.mask
        if self.config.remainder == "spread":
            # Kept tokens go to the end of the ranking; the best of the others fill the budget.
            others = torch.where(kept | ~tokens.mask, rank.shape[1], rank)
            kept |= invert(others.argsort(dim=1, stable=True)) < (lengths - each * segments)[:, None]
        return Assignment.keep(kept, lengths, max(counts))
