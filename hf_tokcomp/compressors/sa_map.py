"""sa_map: merge similar neighbours, then keep attended and diverse groups (SA-MAP, 2026)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..config.checks import option
from ..config.config import CompressionConfig
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from ..ops.diversity import largest_determinant
from ..ops.ranking import descending_rank
from ..ops.similarity import quantise, unit_double
from .base import AudioTokenCompressor, register_compressor

TILE = 64
"""Starts and tokens in a tile; this many tokens are examined before checking whether that was enough."""


@dataclass(frozen=True, kw_only=True)
class SAMapConfig(CompressionConfig):
    """Config of similarity-attention boosted merging and pruning.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.SAMapConfig(retention_ratio=0.5, threshold=0.9))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [64]
    """

    method: str = "sa_map"
    threshold: float = option(
        0.85,
        above=-1,
        at_most=1,
        help="least mean cosine of a token with a group's members to join the group, above -1 and at most 1",
    )


@register_compressor(SAMapConfig)
class SAMap(AudioTokenCompressor[SAMapConfig]):
    """Merges runs of alike tokens, then keeps K runs that are attended and unlike each other.

    Source: SA-MAP, "Similarity-Attention Boosted Token Compression via Merging-and-Pruning" (2026), after its code.
    Stage 1, from left to right: a token joins the current group if its mean cosine with the members is at least
    ``threshold``. A group becomes the mean of its tokens weighted by attention received, taking the maximum over heads
    before summing over queries. Stage 2: the greedy MAP of a determinantal point process with the
    kernel r_i cos_ij r_j keeps K groups; r is the mean over a group of the attention its tokens pay to themselves.

    Readings: encoder space, whereas the code compares projected features, so thresholds do not carry over. If stage 1
    leaves fewer than K groups, the code repeats tokens; here the joins with the lowest mean cosine are undone until
    there are K, earlier ones first. A group whose attention does not sum to a positive, finite number becomes its plain
    mean. Once the chosen groups span all others (residuals below 1e-6), those with the largest r fill the rest.
    """

    family = "hybrid"
    source = "SA-MAP, 2026"
    requires = frozenset({"attention_peak", "attention_self"})

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        mask, wanted = tokens.mask, on_device(counts, tokens.features.device)
        vectors = unit_double(tokens.features, mask)
        starts, cosine = grow_groups(vectors, tokens.lengths, self.config.threshold)
        starts = cut_weakest(starts, cosine, mask, wanted)
        groups = starts.sum(1)
        width = int(groups.max())  # a synchronisation that saves stage 2 this many steps over all tokens
        group = torch.where(mask, starts.cumsum(1) - 1, width)
        weight = _share(tokens.need("attention_peak"), group, width)
        means = unit_double(_sum(torch.nan_to_num(tokens.features.float()).double() * weight[..., None], group, width))
        itself = torch.nan_to_num(tokens.need("attention_self").float()).clamp(min=0).double()
        relevance = _sum(itself, group, width) / _sum(torch.ones_like(itself), group, width).clamp(min=1)
        real = torch.arange(width, device=mask.device) < groups[:, None]
        kept = largest_determinant(means, relevance, real, counts)
        slot_of = pad(torch.where(kept, kept.cumsum(1) - 1, -1), (0, 1), value=-1)
        slot = slot_of.gather(1, group)
        return Assignment(slot, torch.where(slot >= 0, weight, 0).float(), wanted, max(counts))


def _share(attention: Tensor, group: Tensor, width: int) -> Tensor:
    """``(audios, tokens)`` float64: each token's part of its group's attention; equal parts where that has no sum."""
    attention = attention.double().clamp(min=0)
    total = _sum(attention, group, width)
    usable = (total > 0) & total.isfinite()
    attention = torch.where(_of(usable, group), attention, 1)
    return attention / _of(torch.where(usable, total, _sum(torch.ones_like(attention), group, width)), group)


def _sum(values: Tensor, group: Tensor, width: int) -> Tensor:
    """``(audios, width, ...)``: sums over groups; the group ``width`` is padding."""
    out = values.new_zeros(values.shape[0], width + 1, *values.shape[2:])
    index = group.reshape(*group.shape, *(1,) * (values.dim() - 2)).expand_as(values)
    return out.scatter_add(1, index, values)[:, :width]


def _of(values: Tensor, group: Tensor) -> Tensor:
    """``(audios, tokens)``: every token's group's value; padding has the last group's."""
    return values.gather(1, group.clamp(max=values.shape[1] - 1))


def grow_groups(vectors: Tensor, lengths: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Where the groups begin, and how well each token fits in, computed for all tokens at once.

    Where a group ends depends on where it begins, so the rule is sequential. But for every token we can compute where a
    group that began there would end: from prefix sums of the unit vectors, the mean cosine of token t with the members
    s to t-1 is one product, so tiles of starts times tokens are matrix products. Following these links from the first
    token gives the actual starts, in log2 N steps.

    Args:
        vectors: ``(audios, tokens, dim)`` unit vectors in float64; padding is zero.
        lengths: ``(audios,)`` tokens of each audio, at least 1.
        threshold: minimum mean cosine with the group's members for a token to join.

    Returns:
        ``(audios, tokens)`` bool, True where a group begins; and ``(audios, tokens)``, the quantised mean cosine of
        each token with the earlier members of its group, 0 if there are none.
    """
    before = vectors.cumsum(1) - vectors  # the sum over all tokens before
    own = (vectors * before).sum(-1)
    index = torch.arange(vectors.shape[1], device=vectors.device)
    starts = _reached(_next_starts(vectors, before, own, lengths, threshold)) & (index < lengths[:, None])
    start = torch.where(starts, index, 0).cummax(1).values
    earlier = (vectors * before.gather(1, start[..., None].expand_as(before))).sum(-1)
    return starts, quantise((own - earlier) / (index - start).clamp(min=1))


def cut_weakest(starts: Tensor, cosine: Tensor, mask: Tensor, wanted: Tensor) -> Tensor:
    """``starts`` with more groups for audios with fewer than ``wanted``: the tokens that fit worst begin new ones.

    Args:
        starts: ``(audios, tokens)`` bool, True where a group begins.
        cosine: ``(audios, tokens)`` how well each token fits in; ties go to the earlier one.
        mask: ``(audios, tokens)`` bool, False for padding.
        wanted: ``(audios,)`` minimum number of groups.
    """
    joined = mask & ~starts
    missing = wanted - starts.sum(1)
    return starts | (joined & (descending_rank(-cosine, joined) < missing[:, None]))


def _next_starts(vectors: Tensor, before: Tensor, own: Tensor, lengths: Tensor, threshold: float) -> Tensor:
    """``(audios, tokens)``: where the next group begins if one begins here; the audio's length if none does."""
    tokens = vectors.shape[1]
    tiles = -(-tokens // TILE)
    fill = tiles * TILE - tokens
    tiled = (vectors.shape[0], tiles, TILE)
    vectors, before = (pad(x, (0, 0, 0, fill)).reshape(*tiled, x.shape[2]) for x in (vectors, before))
    own = pad(own, (0, fill)).reshape(tiled)
    index = torch.arange(tiles * TILE, device=own.device).view(tiles, TILE)
    following = lengths[:, None, None].expand(-1, tiles, TILE).clone()
    for ahead in range(tiles):  # starts in tile i, tokens in tile i + ahead
        token, begin = index[ahead:, None], index[: tiles - ahead, :, None]
        total = own[:, ahead:, None] - before[:, : tiles - ahead] @ vectors[:, ahead:].mT
        apart = (quantise(total / (token - begin).clamp(min=1)) < threshold) & (token > begin)
        first = torch.where(apart, token, tiles * TILE).amin(-1)
        seen = following[:, : tiles - ahead]
        torch.minimum(seen, first, out=seen)
        # Continue unless all answers lie within the examined part: the only synchronisation per tile.
        if ahead + 1 == tiles or bool((seen <= index[ahead:, -1:] + 1).all()):
            break
    return following.flatten(1)[:, :tokens]


def _reached(following: Tensor) -> Tensor:
    """``(audios, tokens)`` bool: the tokens reached by following the links from the first one, which is included.

    After r rounds all tokens within 2^r links are marked, and every link is 2^r links long.
    """
    tokens = following.shape[1]
    jump = pad(following, (0, 1), value=tokens)
    reached = torch.zeros_like(jump, dtype=torch.bool)
    reached[:, 0] = True
    for _ in range(tokens.bit_length()):
        reached = reached.scatter(1, torch.where(reached, jump, tokens), True)
        jump = jump.gather(1, jump)
    return reached[:, :tokens]
