"""sa_map: merge alike neighbours, then keep the groups that are attended and unlike each other (SA-MAP, 2026)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..config.config import CompressionConfig
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from ..ops.diversity import largest_determinant
from ..ops.groups import cut_weakest, grow_groups
from ..ops.similarity import unit_double
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class SAMapConfig(CompressionConfig):
    """Similarity-attention boosted merging and pruning.

    Args:
        threshold: least mean cosine of a token with a group's members to join the group, above -1 and at most 1.
    """

    method: str = "sa_map"
    threshold: float = 0.85

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_number("threshold", -1, 1)


@register_compressor(SAMapConfig)
class SAMap(AudioTokenCompressor[SAMapConfig]):
    """Merges runs of alike tokens, then keeps K runs that are attended and unlike each other.

    Source: SA-MAP, "Similarity-Attention Boosted Token Compression via Merging-and-Pruning" (2026), after its code.
    Stage 1, from left to right: a token joins the group before it while its mean cosine with the members is at least
    ``threshold``. A group becomes the mean of its tokens weighted by attention received, for which the largest of the
    heads is taken before the queries are summed. Stage 2: the greedy MAP of a determinantal point process with the
    kernel r_i cos_ij r_j keeps K groups; r is the mean over a group of the attention its tokens pay to themselves.

    Readings: encoder space, where the code compares projected features, so that thresholds do not carry over. Where
    stage 1 leaves less than K groups, the code repeats tokens; here the joins with the lowest cosine (the one with
    which the token joined) are cut until there are K, the earlier first. A group whose attention does not sum to a
    positive, finite number is its plain mean. Once the chosen groups span all others (less than 1e-6 of the square of
    any unit vector is left outside), those with the largest r fill up.
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
        width = int(groups.max())  # a synchronisation that spares stage 2 as many steps over all tokens
        group = torch.where(mask, starts.cumsum(1) - 1, width)
        weight = _share(tokens.need("attention_peak"), group, width)
        means = unit_double(_sum(torch.nan_to_num(tokens.features.float()).double() * weight[..., None], group, width))
        itself = torch.nan_to_num(tokens.need("attention_self").float()).clamp(min=0).double()
        relevance = _sum(itself, group, width) / _sum(torch.ones_like(itself), group, width).clamp(min=1)
        real = torch.arange(width, device=mask.device) < groups[:, None]
        kept = largest_determinant(means, relevance, real, counts)
        slot_of = torch.nn.functional.pad(torch.where(kept, kept.cumsum(1) - 1, -1), (0, 1), value=-1)
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
