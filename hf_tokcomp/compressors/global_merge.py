"""global_merge: ltbm without the window, the paper's controlled comparison (arXiv 2605.25179)."""

from __future__ import annotations

from dataclasses import dataclass

from ..assignment import Assignment
from ..audio_tokens import AudioTokens
from ..bipartite import merge_in_rounds
from ..compressor import AudioTokenCompressor
from ..config import CompressionConfig
from ..registry import register_compressor


@dataclass(frozen=True, kw_only=True)
class GlobalMergeConfig(CompressionConfig):
    """Global bipartite merging has no options beside the budget."""

    method: str = "global_merge"


@register_compressor(GlobalMergeConfig)
class GlobalMerge(AudioTokenCompressor[GlobalMergeConfig]):
    """Merges the most similar tokens wherever they are.

    Source: Global Merge, the variant of arXiv 2605.25179 that isolates locality; the same code as ltbm but for the
    window. After ToMe (ICLR 2023), applied to the encoder's output.
    """

    family = "merging"
    source = "arXiv 2605.25179"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        return merge_in_rounds(tokens, counts, window=None)
