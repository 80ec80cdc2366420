"""top_k: the most attended tokens of the whole audio (arXiv 2511.14293, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

from ..assignment import Assignment
from ..audio_tokens import AudioTokens
from ..compressor import AudioTokenCompressor
from ..config import CompressionConfig
from ..registry import register_compressor
from ..selection import keep_best


@dataclass(frozen=True, kw_only=True)
class TopKConfig(CompressionConfig):
    """Top-K has no options beside the budget."""

    method: str = "top_k"


@register_compressor(TopKConfig)
class TopK(AudioTokenCompressor[TopKConfig]):
    """Keeps the K tokens that receive the most attention in the encoder's last layer.

    Source: arXiv 2511.14293, section 3.2. The paper feeds the tokens in descending attention and reports the same MMAU
    score for temporal order, which is what we keep. Ties go to the earlier token.
    """

    family = "pruning"
    source = "arXiv 2511.14293, section 3.2"
    requires = frozenset({"attention"})

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        return keep_best(tokens.need("attention"), tokens, counts)
