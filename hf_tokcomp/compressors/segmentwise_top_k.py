"""segmentwise_top_k: the most attended tokens of every stretch of time (arXiv 2511.14293, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from ..assignment import Assignment
from ..audio_tokens import AudioTokens
from ..compressor import AudioTokenCompressor
from ..config import CompressionConfig
from ..registry import register_compressor
from ..selection import descending_rank, invert


@dataclass(frozen=True, kw_only=True)
class SegmentwiseTopKConfig(CompressionConfig):
    """Segmentwise Top-K.

    Args:
        segments: S, the number of equal segments; 1 is top_k. The paper's sweep of 2 to 15 on MMAU was best at 10.
    """

    method: str = "segmentwise_top_k"
    segments: int = 10
    accepts_chunks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_integer("segments", 1)

    def _reachable_count(self, n: int, count: int) -> int:
        segments = min(self.segments, count)
        return segments * (count // segments)


@register_compressor(SegmentwiseTopKConfig)
class SegmentwiseTopK(AudioTokenCompressor[SegmentwiseTopKConfig]):
    """Keeps the most attended tokens of each of S segments.

    Source: arXiv 2511.14293, section 3.3: S contiguous segments, in each the floor(K / S) tokens with the largest
    attention received over the whole sequence. The floor can lose up to S - 1 tokens (6 s at 10 % keep 10 of 15), and
    `output_length` says so. Readings: token i is in segment ``i * S // N``; where K < S, S is K.
    """

    family = "pruning"
    source = "arXiv 2511.14293, section 3.3"
    requires = frozenset({"attention"})

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        device = tokens.features.device
        segments = torch.tensor([min(self.config.segments, k) for k in counts], device=device)
        lengths = torch.tensor(counts, device=device)
        index = torch.arange(tokens.features.shape[1], device=device)
        segment = index * segments[:, None] // tokens.lengths[:, None]
        # Stable sorts, the more important one last: within each segment, tokens stand in falling attention.
        order = invert(descending_rank(tokens.need("attention"), tokens.mask))
        order = order.gather(1, segment.gather(1, order).argsort(dim=1, stable=True))
        # In that order segment s fills exactly its own indices, from ceil(s * N / S) on.
        start = -(-segment * tokens.lengths[:, None] // segments[:, None])
        rank_in_segment = invert(order) - start
        kept = (rank_in_segment < (lengths // segments)[:, None]) & tokens.mask
        return Assignment.keep(kept, lengths, max(counts))
