"""divprune: tokens as far from each other as possible (DivPrune, arXiv 2503.02175)."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.checks import option
from ..config.config import CompressionConfig
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from ..ops.diversity import farthest_points
from ..ops.similarity import SPACE_HELP, SPACE_NEEDS, SimilaritySpace, unit_double
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class DivPruneConfig(CompressionConfig):
    """Config of diversity-based pruning.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.DivPruneConfig(retention_ratio=0.5, similarity="projected"))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [64]
    """

    method: str = "divprune"
    similarity: SimilaritySpace = option("features", needs=SPACE_NEEDS, help=SPACE_HELP)


@register_compressor(DivPruneConfig)
class DivPrune(AudioTokenCompressor[DivPruneConfig]):
    """Keeps K tokens whose smallest distance to each other is large.

    Source: DivPrune (CVPR 2025), arXiv 2503.02175, designed for images. It poses the max-min diversity problem with the
    distance 1 - cosine, and solves it greedily: first the token whose nearest neighbour is farthest, then repeatedly
    the token farthest from the chosen ones. Readings: encoder space by default, whereas the original compares
    projected features; ties go to the earlier token; a zero vector is at distance 1 from everything, including other
    zero vectors.
    """

    family = "pruning"
    source = "CVPR 2025, arXiv 2503.02175"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        space = tokens.similarity_space(self.config.similarity)
        vectors = unit_double(space, tokens.mask)
        kept = farthest_points(vectors, tokens.mask, counts)
        return Assignment.keep(kept, on_device(counts, kept.device), max(counts))
