"""visionzip: the most attended tokens, and the rest gathered around a few of them (VisionZip, arXiv 2412.04467)."""

from __future__ import annotations

import math
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
from ..ops.similarity import SPACE_HELP, SPACE_NEEDS, SimilaritySpace, finite, quantise, unit
from .base import AudioTokenCompressor, register_compressor

BLOCK = 1 << 22
"""Similarities held at once: tokens are matched to targets in blocks of this many entries."""


@dataclass(frozen=True, kw_only=True)
class VisionZipConfig(CompressionConfig):
    """Config of VisionZip.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.VisionZipConfig(retention_ratio=0.5, contextual="mean"))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [64]
    """

    method: str = "visionzip"
    contextual_ratio: float = option(
        0.18, at_least=0, help="contextual tokens per dominant token, at least 0; 0 is top_k"
    )
    contextual: Literal["sum", "mean"] = option(
        "sum",
        help="a contextual token is its target plus the mean of the tokens assigned to it (`sum`), or the mean of them "
        "all (`mean`)",
    )
    similarity: SimilaritySpace = option("keys", help=SPACE_HELP)

    def contextual_count(self, count: int) -> int:
        """The number of contextual tokens among ``count``."""
        return math.floor(count * (self.contextual_ratio / (1 + self.contextual_ratio)) + 0.5)


@register_compressor(VisionZipConfig)
class VisionZip(AudioTokenCompressor[VisionZipConfig]):
    """Keeps the most attended tokens, and gathers the others around evenly spaced ones.

    Source: VisionZip, arXiv 2412.04467 (CVPR 2025), for images; adapted to audio in arXiv 2511.14293. The paper:
    dominant tokens as in top_k, then contextual tokens by similarity, about 0.18 for each dominant one. Its code: of
    the R tokens that are not dominant, in temporal order, every max(1, R // C)-th is a target, the first C of them;
    every other one goes to the target with the largest cosine of their keys; a contextual token is target +
    mean(assigned), a sum. Readings: C = floor(K * ratio / (1 + ratio) + 0.5); attention and keys are those of the last
    layer (the code takes the one before it, and the attention of its class token); ties go to the earlier target;
    contextual tokens stand in temporal order, at their target's place (the code puts them last).
    """

    family = "hybrid"
    source = "arXiv 2412.04467, arXiv 2511.14293"

    def __init__(self, config: VisionZipConfig) -> None:
        super().__init__(config)
        compared = SPACE_NEEDS[config.similarity] if config.contextual_ratio > 0 else frozenset()
        self.requires = compared | {"attention"}
        self.preserves_mass = config.contextual == "mean" or config.contextual_ratio == 0

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        device = tokens.features.device
        contextual = [self.config.contextual_count(k) for k in counts]
        number, lengths = on_device(contextual, device)[:, None], on_device(counts, device)
        rank = descending_rank(tokens.need("attention"), tokens.mask)
        rest = tokens.mask & (rank >= lengths[:, None] - number)
        place = rest.cumsum(1) - 1
        step = (rest.sum(1, keepdim=True) // number.clamp(min=1)).clamp(min=1)
        target = rest & (place % step == 0) & (place // step < number)
        pruned = Assignment.keep((tokens.mask & ~rest) | target, lengths, max(counts))
        if max(contextual) == 0:
            return pruned
        others = rest & ~target & (number > 0)
        vectors = unit(finite(tokens.similarity_space(self.config.similarity)))
        owner = pruned.slot.gather(1, _nearest(vectors, others, target, max(contextual), number))
        slot = torch.where(others, owner, pruned.slot)
        return Assignment(slot, self._weights(others, target, slot, max(counts)), lengths, max(counts), pruned.position)

    def _weights(self, others: Tensor, target: Tensor, slot: Tensor, width: int) -> Tensor:
        members = torch.zeros(slot.shape[0], width + 1, device=slot.device)
        at = torch.where(slot >= 0, slot, width)
        assigned = members.scatter_add(1, at, others.float()).gather(1, at)
        if self.config.contextual == "mean":
            return torch.where(slot >= 0, 1 / torch.where(others | target, assigned + 1, 1), 0)
        return torch.where(slot >= 0, 1 / torch.where(others, assigned, 1), 0)


def _nearest(vectors: Tensor, others: Tensor, target: Tensor, width: int, number: Tensor) -> Tensor:
    """``(audios, tokens)`` long: the nearest target of every token of ``others``; 0 for all others.

    Args:
        vectors: ``(audios, tokens, dim)`` unit vectors.
        others: ``(audios, tokens)`` bool.
        target: ``(audios, tokens)`` bool, ``number`` ``(audios, 1)`` True each, at most ``width``.
    """
    audios, tokens, dim = vectors.shape
    index = torch.arange(tokens, device=vectors.device).expand(audios, tokens)
    column = torch.where(target, target.cumsum(1) - 1, width)
    places = index.new_zeros(audios, width + 1).scatter(1, column, index)[:, :width]
    targets = vectors.gather(1, places[..., None].expand(-1, -1, dim)).transpose(1, 2)
    real = (torch.arange(width, device=vectors.device) < number)[:, None]
    block = max(1, BLOCK // max(1, audios * width))
    best = [
        quantise(vectors[:, start : start + block] @ targets).masked_fill(~real, -torch.inf).argmax(2)
        for start in range(0, tokens, block)  # argmax takes the first of equals, which `max` does not guarantee
    ]
    return torch.where(others, places.gather(1, torch.cat(best, 1)), 0)
