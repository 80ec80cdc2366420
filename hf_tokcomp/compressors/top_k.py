"""top_k: the most attended tokens of the whole audio (arXiv 2511.14293, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..config.checks import option
from ..config.config import CompressionConfig
from ..ops.audio_tokens import AudioTokens
from ..ops.ranking import ATTENTION, HEAD_NEEDS, HEADS_HELP, HeadReduction
from .base import ScoringCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class TopKConfig(CompressionConfig):
    """Config of top-k.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.TopKConfig(max_tokens=20))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [20]
    """

    method: str = "top_k"
    head_reduction: HeadReduction = option("mean", needs=HEAD_NEEDS, help=HEADS_HELP)
    order: Literal["time", "attention"] = option(
        "time",
        help="`time`, or `attention` for the most attended token first, as the paper fed them; only with contiguous "
        "positions",
    )

    @property
    def temporal_order(self) -> bool:
        return self.order == "time"


@register_compressor(TopKConfig)
class TopK(ScoringCompressor[TopKConfig]):
    """Keeps the K tokens that receive the most attention in the encoder's last layer.

    Source: arXiv 2511.14293, section 3.2. The paper feeds the tokens in order of descending attention and reports the
    same MMAU score for temporal order, which is our default. Ties go to the earlier token.
    """

    source = "arXiv 2511.14293, section 3.2"

    def score(self, tokens: AudioTokens) -> Tensor:
        return tokens.need(ATTENTION[self.config.head_reduction])
