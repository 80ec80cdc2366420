"""a_tome: pairs of adjacent tokens with similar keys merge, round by round (A-ToMe, arXiv 2306.16009)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..config.checks import option
from ..config.config import BUDGETS, CompressionConfig
from ..errors import CompressionConfigError
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from ..ops.ranking import descending_rank
from ..ops.similarity import SPACE_HELP, SPACE_NEEDS, SimilaritySpace, finite, quantise, unit
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class ATomeConfig(CompressionConfig):
    """Config of adjacent token merging.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.ATomeConfig(retention_ratio=0.5))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [64]
    """

    method: str = "a_tome"
    threshold: float | None = option(
        None,
        above=-1,
        at_most=1,
        help="instead of a budget, all pairs merge whose cosine is above it, -1 < threshold <= 1; how many tokens are "
        "left then depends on the content. None to merge down to the budget",
    )
    similarity: SimilaritySpace = option("keys", needs=SPACE_NEEDS, help=SPACE_HELP)
    instead_of_budget: ClassVar[tuple[str, ...]] = ("threshold",)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if given and self.threshold is not None:
            raise CompressionConfigError(
                f"A threshold takes the place of a budget; leave out threshold or {' and '.join(given)}."
            )

    @property
    def deterministic_length(self) -> bool:
        """Whether a budget rather than the threshold determines how many tokens are left."""
        return self.threshold is None

    def _default_ratio(self) -> float | None:
        return super()._default_ratio() if self.threshold is None else None


@register_compressor(ATomeConfig)
class ATome(AudioTokenCompressor[ATomeConfig]):
    """Merges the pairs of adjacent tokens that have the most similar keys, round by round.

    Source: A-ToMe, arXiv 2306.16009, known to us from summaries: the pairs (0, 1), (2, 3), ... of adjacent tokens, the
    most similar by the cosine of their keys merge, or all above a fixed threshold. There it happens between encoder
    layers, here after the encoder (our reading). Further readings: in a round the min(N' - K, floor(N' / 2)) most
    similar pairs of the N' remaining tokens merge, ties to the earlier, and an odd last token is left alone; rounds
    continue until K are left, or until no pair is above the threshold; a merged token is the mean of its members, and
    so is its key, and it has the position of its last member.
    """

    family = "merging"
    source = "arXiv 2306.16009"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        space = finite(tokens.similarity_space(self.config.similarity))
        index = torch.arange(space.shape[1], device=space.device)
        slot = torch.where(tokens.mask, index, -1)
        left = list(tokens.counts)
        while True:
            now = on_device(left, space.device)
            similarity = _pairs(Assignment.mean(slot, now, max(left)).apply(space))
            real = torch.arange(similarity.shape[1], device=space.device) < now[:, None] // 2
            if self.config.threshold is None:
                before, left = left, [max(k, n - n // 2) for n, k in zip(left, counts, strict=True)]
                number = on_device([n - k for n, k in zip(before, left, strict=True)], space.device)
                joins = real & (descending_rank(similarity, real) < number[:, None])
            else:
                joins = real & (similarity > self.config.threshold)
                before, left = left, (now - joins.sum(1)).tolist()  # the only synchronisation in a round
            slot = _join(slot, joins, max(before))
            if left == (counts if self.config.threshold is None else before):
                break
        # Slots are stretches of time, so a slot's last member is where the next token has another slot.
        last = tokens.mask & (slot != torch.nn.functional.pad(slot[:, 1:], (0, 1), value=-1))
        lengths = on_device(left, space.device)
        return Assignment.mean(slot, lengths, max(left), Assignment.keep(last, lengths, max(left)).position)


def _pairs(vectors: Tensor) -> Tensor:
    """``(audios, places // 2)``: the cosine of every even place with the odd one after it, quantised."""
    vectors = unit(vectors)
    pairs = vectors.shape[1] // 2
    return quantise((vectors[:, 0 : 2 * pairs : 2] * vectors[:, 1 : 2 * pairs : 2]).sum(-1))


def _join(slot: Tensor, joins: Tensor, width: int) -> Tensor:
    """Every token's slot after merging the pairs ``joins`` ``(audios, pairs)`` of the current slots."""
    opens = torch.ones(slot.shape[0], width, dtype=torch.bool, device=slot.device)
    opens[:, 1 : 2 * joins.shape[1] : 2] = ~joins
    place = opens.cumsum(1) - 1
    return torch.where(slot >= 0, place.gather(1, slot.clamp(min=0)), -1)
