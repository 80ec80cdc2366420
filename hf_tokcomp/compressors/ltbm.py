"""ltbm: merge similar tokens that are near each other, without training (arXiv 2605.25179)."""

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
class LTBMConfig(CompressionConfig):
    """Config of local temporal bipartite merging.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.LTBMConfig(retention_ratio=0.25, window=4))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [32]
    """

    method: str = "ltbm"
    window: int = option(
        8, at_least=1, help="farthest two tokens may be apart to merge, in original tokens (8 are 0.32 s), at least 1"
    )
    similarity: SimilaritySpace = option("features", needs=SPACE_NEEDS, help=SPACE_HELP)


@register_compressor(LTBMConfig)
class LTBM(AudioTokenCompressor[LTBMConfig]):
    """Merges the most similar tokens within a temporal window.

    Source: arXiv 2605.25179: training-free bipartite merging in encoder space under an explicit temporal window. Only
    the paper's abstract was available; the rounds are our reading after ToMe (ICLR 2023), described in
    `hf_tokcomp.ops.merging`.
    """

    family = "merging"
    source = "arXiv 2605.25179"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        vectors = tokens.similarity_space(self.config.similarity)
        return merge_in_rounds(tokens, vectors, counts, window=self.config.window)
