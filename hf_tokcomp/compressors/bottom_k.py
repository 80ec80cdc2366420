"""bottom_k: the least attended tokens, to show that the attention score means something (arXiv 2511.14293, table 3)."""

from __future__ import annotations

from dataclasses import dataclass

from ..assignment import Assignment
from ..audio_tokens import AudioTokens
from ..compressor import AudioTokenCompressor
from ..config import CompressionConfig
from ..registry import register_compressor
from ..selection import keep_best


@dataclass(frozen=True, kw_only=True)
class BottomKConfig(CompressionConfig):
    """Bottom-k has no options beside the budget."""

    method: str = "bottom_k"


@register_compressor(BottomKConfig)
class BottomK(AudioTokenCompressor[BottomKConfig]):
    """Keeps the K tokens that receive the least attention in the encoder's last layer.

    Source: the control of arXiv 2511.14293, table 3. Ties go to the earlier token.
    """

    family = "pruning"
    source = "arXiv 2511.14293, table 3"
    requires = frozenset({"attention"})

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        return keep_best(-tokens.need("attention"), tokens, counts)
