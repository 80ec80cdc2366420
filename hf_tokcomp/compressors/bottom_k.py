"""bottom_k: the least attended tokens, to show that the attention score means something (arXiv 2511.14293, table 3)."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.config import CompressionConfig
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.ranking import ATTENTION, HeadReduction, keep_best
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class BottomKConfig(CompressionConfig):
    """Bottom-k.

    Args:
        head_reduction: how the heads' scores are put together; the paper takes the mean and names others as possible.
    """

    method: str = "bottom_k"
    head_reduction: HeadReduction = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("head_reduction", HeadReduction)


@register_compressor(BottomKConfig)
class BottomK(AudioTokenCompressor[BottomKConfig]):
    """Keeps the K tokens that receive the least attention in the encoder's last layer.

    Source: the control of arXiv 2511.14293, table 3. Ties go to the earlier token.
    """

    family = "pruning"
    source = "arXiv 2511.14293, table 3"

    def __init__(self, config: BottomKConfig) -> None:
        super().__init__(config)
        self.requires = frozenset({ATTENTION[config.head_reduction]})

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        scores = tokens.need(ATTENTION[self.config.head_reduction])
        return keep_best(-scores, tokens, counts)
