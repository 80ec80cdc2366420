"""bottom_k: the least attended tokens, as a control for the attention score (arXiv 2511.14293, table 3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..config.checks import option
from ..config.config import CompressionConfig
from ..ops.audio_tokens import AudioTokens
from ..ops.ranking import ATTENTION, HEAD_NEEDS, HEADS_HELP, HeadReduction
from .base import ScoringCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class BottomKConfig(CompressionConfig):
    """Config of bottom-k.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.BottomKConfig(retention_ratio=0.5))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [64]
    """

    method: str = "bottom_k"
    head_reduction: HeadReduction = option("mean", needs=HEAD_NEEDS, help=HEADS_HELP)


@register_compressor(BottomKConfig)
class BottomK(ScoringCompressor[BottomKConfig]):
    """Keeps the K tokens that receive the least attention in the encoder's last layer.

    Source: the control of arXiv 2511.14293, table 3. Ties go to the earlier token.
    """

    source = "arXiv 2511.14293, table 3"

    def score(self, tokens: AudioTokens) -> Tensor:
        return -tokens.need(ATTENTION[self.config.head_reduction])
