"""Ranking tokens and keeping the best ones, per audio, in a ragged batch."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .assignment import Assignment
from .audio_tokens import AudioTokens
from .device import on_device

HeadReduction = Literal["mean", "max"]
ATTENTION = {"mean": "attention", "max": "attention_max"}
"""Field of `AudioTokens` with the attention received, by the reduction over heads."""
HEAD_NEEDS = {name: frozenset({field}) for name, field in ATTENTION.items()}
HEADS_HELP = "how the heads' scores are put together; the paper uses the mean and mentions others as possible"


def clean_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Sortable float32 scores: padding and NaN come last.

    Example:
        >>> from hf_tokcomp.selection import clean_scores
        >>> clean_scores(torch.tensor([[1.0, float("nan"), 9.0]]), torch.tensor([[True, True, False]])).tolist()
        [[1.0, -inf, -inf]]
    """
    scores = scores.float()
    return torch.where(mask & ~scores.isnan(), scores, -torch.inf)


def descending_rank(scores: Tensor, mask: Tensor) -> Tensor:
    """``(audios, tokens)`` long: 0 for the best token. Ties go to the earlier one; padding ranks after every token.

    Example:
        >>> from hf_tokcomp.selection import descending_rank
        >>> descending_rank(torch.tensor([[0.1, 0.9, 0.9]]), torch.tensor([[True, True, True]])).tolist()
        [[2, 0, 1]]
    """
    # Padding is on the right, so a stable sort puts it even after tokens that score -inf.
    return invert(clean_scores(scores, mask).argsort(dim=1, descending=True, stable=True))


def invert(order: Tensor) -> Tensor:
    """The inverse of each row's permutation ``(audios, tokens)``.

    Example:
        >>> from hf_tokcomp.selection import invert
        >>> invert(torch.tensor([[2, 0, 1]])).tolist()
        [[1, 2, 0]]
    """
    index = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, index)


def keep_best(scores: Tensor, tokens: AudioTokens, counts: list[int], in_time: bool = True) -> Assignment:
    """Keep the ``counts[i]`` tokens of audio i with the largest scores ``(audios, tokens)``.

    Args:
        scores: the larger the better; ties go to the earlier token.
        tokens: the audios.
        counts: tokens to keep of each.
        in_time: whether slots are in temporal order, or best first.

    Example:
        >>> from hf_tokcomp.selection import keep_best
        >>> tokens = hf_tokcomp.AudioTokens(torch.randn(1, 4, 64), lengths=[4])
        >>> keep_best(torch.tensor([[0.1, 0.9, 0.3, 0.5]]), tokens, [2]).slot.tolist()
        [[-1, 0, -1, 1]]
    """
    lengths = on_device(counts, scores.device)
    rank = descending_rank(scores, tokens.mask)
    kept = (rank < lengths[:, None]) & tokens.mask
    if in_time:
        return Assignment.keep(kept, lengths, max(counts))
    position = invert(rank)[:, : max(counts)]
    real = torch.arange(position.shape[1], device=scores.device) < lengths[:, None]
    slot, position = torch.where(kept, rank, -1), torch.where(real, position, 0)
    return Assignment(slot, kept.float(), lengths, max(counts), position, one_each=True)
