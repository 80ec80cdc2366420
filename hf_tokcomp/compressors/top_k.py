"""top_k: the most attended tokens of the whole audio (arXiv 2511.14293, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..config.config import CompressionConfig
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.ranking import ATTENTION, HeadReduction, keep_best
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class TopKConfig(CompressionConfig):
    """Top-K.

    Args:
        head_reduction: how the heads' scores are put together; the paper takes the mean and names others as possible.
        order: ``"time"``, or ``"attention"`` for the most attended token first, as the paper fed them; only with
            contiguous positions.
    """

    method: str = "top_k"
    head_reduction: HeadReduction = "mean"
    order: Literal["time", "attention"] = "time"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("head_reduction", HeadReduction)
        self.check_choice("order", Literal["time", "attention"])

    @property
    def temporal_order(self) -> bool:
        return self.order == "time"


@register_compressor(TopKConfig)
class TopK(AudioTokenCompressor[TopKConfig]):
    """Keeps the K tokens that receive the most attention in the encoder's last layer.

    Source: arXiv 2511.14293, section 3.2. The paper feeds the tokens in descending attention and reports the same MMAU
    score for temporal order, which is our default. Ties go to the earlier token.
    """

    family = "pruning"
    source = "arXiv 2511.14293, section 3.2"

    def __init__(self, config: TopKConfig) -> None:
        super().__init__(config)
        self.requires = frozenset({ATTENTION[config.head_reduction]})

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        scores = tokens.need(ATTENTION[self.config.head_reduction])
        return keep_best(scores, tokens, counts, in_time=self.config.temporal_order)
