"""cdpruner: tokens that are relevant and unlike each other, by a determinant (CDPruner, arXiv 2506.10967)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..config.checks import option
from ..config.config import CompressionConfig
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from ..ops.diversity import largest_determinant
from ..ops.similarity import SPACE_HELP, SPACE_NEEDS, SimilaritySpace, unit_double
from .base import AudioTokenCompressor, register_compressor

Relevance = Literal["none", "query", "attention"]
RELEVANCE_NEEDS: dict[str, set[str]] = {"query": {"query", "projected"}, "attention": {"attention"}}


@dataclass(frozen=True, kw_only=True)
class CDPrunerConfig(CompressionConfig):
    """Config of pruning by conditional diversity.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.CDPrunerConfig(retention_ratio=0.5, relevance="query"))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [64]
    """

    method: str = "cdpruner"
    relevance: Relevance = option(
        "none",
        needs=RELEVANCE_NEEDS,
        help="what makes a token worth more: its likeness to the words of the user's question (`query`), or the "
        "attention it receives in the encoder's last layer (`attention`)",
    )
    similarity: SimilaritySpace = option("features", needs=SPACE_NEEDS, help=SPACE_HELP)


@register_compressor(CDPrunerConfig)
class CDPruner(AudioTokenCompressor[CDPrunerConfig]):
    """Keeps K tokens that span the largest volume, each as long as it is relevant.

    Source: CDPruner (NeurIPS 2025), arXiv 2506.10967, designed for images: the greedy MAP of a determinantal point
        process
    with the kernel r_i cos_ij r_j. In its code r is the negated mean cosine of an image token with the text in CLIP's
    space, scaled to the range from 0 to 1 as ``(r - min + 1e-6) / (max - min)``.

    Readings: without a question there is no r, so it is 1 by default, as in the baseline of SA-MAP's code.
    ``relevance="query"`` takes the mean, over the question's words, of the cosine between projected token and word. It
    is not negated: the sign belongs to CLIP's space, and here both are in the language model's.
    ``relevance="attention"`` takes attention received. Both are scaled to the same range over an audio's tokens; if all
    are equal, or the question has no words, r is 1. Once the chosen tokens span all others (residuals below 1e-6), the
    largest r fill the rest. Ties go to the earlier token.
    """

    family = "pruning"
    source = "NeurIPS 2025, arXiv 2506.10967"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        space = tokens.similarity_space(self.config.similarity)
        vectors = unit_double(space, tokens.mask)
        kept = largest_determinant(vectors, self._relevance(tokens), tokens.mask, counts)
        return Assignment.keep(kept, on_device(counts, kept.device), max(counts))

    def _relevance(self, tokens: AudioTokens) -> Tensor:
        if self.config.relevance == "query":
            return min_max(likeness_to_query(tokens), tokens.mask)
        if self.config.relevance == "attention":
            return min_max(tokens.need("attention"), tokens.mask)
        return torch.ones_like(tokens.mask, dtype=torch.float64)


def likeness_to_query(tokens: AudioTokens) -> Tensor:
    """``(audios, tokens)`` float64: each projected token's mean cosine with the words; 0 without words."""
    query = tokens.need("query")
    words = torch.full_like(tokens.lengths, query.shape[1]) if tokens.query_lengths is None else tokens.query_lengths
    real = torch.arange(query.shape[1], device=query.device) < words[:, None]
    total = unit_double(query, real).sum(1)
    mean = total / words.clamp(min=1)[:, None]  # the mean of cosines is the cosine with the mean of unit vectors
    return (unit_double(tokens.need("projected")) @ mean[..., None])[..., 0]


def min_max(scores: Tensor, mask: Tensor) -> Tensor:
    """``(audios, tokens)`` float64: scores from just above 0 to just above 1 within each audio; 1 if all are equal."""
    scores = torch.nan_to_num(scores.float()).double()
    low = torch.where(mask, scores, torch.inf).amin(1, keepdim=True)
    span = torch.where(mask, scores, -torch.inf).amax(1, keepdim=True) - low
    return torch.where(span > 0, (scores - low + 1e-6) / torch.where(span > 0, span, 1), 1)
