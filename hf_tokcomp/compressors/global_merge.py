"""global_merge: ltbm without the window, the paper's controlled comparison (arXiv 2605.25179)."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.checks import option
from ..config.config import CompressionConfig
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.merging import merge_in_rounds
from ..ops.similarity import SPACE_HELP, SPACE_NEEDS, SimilaritySpace
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class GlobalMergeConfig(CompressionConfig):
    """Config of global bipartite merging.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.GlobalMergeConfig(retention_ratio=0.5, similarity="keys"))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [64]
    """

    method: str = "global_merge"
    similarity: SimilaritySpace = option("features", needs=SPACE_NEEDS, help=SPACE_HELP)


@register_compressor(GlobalMergeConfig)
class GlobalMerge(AudioTokenCompressor[GlobalMergeConfig]):
    """Merges the most similar tokens wherever they are.

    Source: Global Merge, the variant of arXiv 2605.25179 that isolates locality; the same code as ltbm except for the
    window. After ToMe (ICLR 2023), applied to the encoder's output.
    """

    family = "merging"
    source = "arXiv 2605.25179"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        vectors = tokens.similarity_space(self.config.similarity)
        return merge_in_rounds(tokens, vectors, counts, window=None)
