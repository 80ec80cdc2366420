"""fastadasp: runs of similar neighbours become their attention-weighted mean (FastAdaSP, arXiv 2410.03007)."""

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
from ..ops.ranking import descending_rank
from ..ops.segments import slots
from ..ops.similarity import cosine_to_next, finite
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class FastAdaSPConfig(CompressionConfig):
    """Config of FastAdaSP.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.FastAdaSPConfig(retention_ratio=0.5))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [64]
    """

    method: str = "fastadasp"
    weighting: Literal["attention", "mean"] = option(
        "attention",
        needs={"attention": {"attention"}},
        help="a run becomes its mean weighted by `attention`, or its plain `mean`, which needs none",
    )


@register_compressor(FastAdaSPConfig)
class FastAdaSP(AudioTokenCompressor[FastAdaSPConfig]):
    """Joins the most similar neighbours into runs, and takes the attention-weighted mean of each.

    Source: FastAdaSP, arXiv 2410.03007 (EMNLP 2024, industry track). The original merges inside the language model's
    layers, weighted by their attention. The variant after the encoder is known to us from the code of SA-MAP's
    baselines: of the N - 1 links between neighbours the N - K with the largest cosine are joined, and every run becomes
    one token. Readings: ties go to the earlier link; weights are the attention received in the encoder's last layer; a
    run with a weight that is negative, infinite or NaN, or with none above zero, becomes its plain mean.
    """

    family = "merging"
    source = "arXiv 2410.03007"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        lengths = on_device(counts, tokens.features.device)
        links = tokens.mask[:, 1:]
        rank = descending_rank(cosine_to_next(finite(tokens.features)), links)
        opens = tokens.mask.clone()
        opens[:, 1:] = links & (rank >= (tokens.lengths - lengths)[:, None])
        slot = slots(opens, tokens.mask)
        if self.config.weighting == "mean":
            return Assignment.mean(slot, lengths, max(counts))
        return Assignment(slot, run_weights(tokens.need("attention"), slot, max(counts)), lengths, max(counts))


def run_weights(scores: Tensor, slot: Tensor, width: int) -> Tensor:
    """``(audios, tokens)`` float32: every token's share of its slot's scores, and 0 without a slot.

    Equal shares in a slot whose scores are not valid weights: one is negative, infinite or NaN, or all are zero.

    Args:
        scores: ``(audios, tokens)``.
        slot: ``(audios, tokens)`` long, -1 for none.
        width: maximum number of slots.
    """
    target = torch.where(slot >= 0, slot, width)
    bad = (~scores.isfinite() | (scores < 0)).double()
    scores = torch.where(scores.isfinite(), scores.double(), 0)

    def per_slot(value: Tensor, reduce: str) -> Tensor:
        out = value.new_zeros(slot.shape[0], width + 1).scatter_reduce(1, target, value, reduce)
        return out.gather(1, target)

    plain = (per_slot(bad, "amax") > 0) | (per_slot(scores, "amax") <= 0)
    scores = torch.where(plain, 1, scores)
    return torch.where(slot >= 0, scores / per_slot(scores, "sum"), 0).float()
