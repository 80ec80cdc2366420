"""What pruning methods share: ranking tokens and keeping the best, per audio, in a ragged batch."""

from __future__ import annotations

import torch
from torch import Tensor

from .assignment import Assignment
from .audio_tokens import AudioTokens


def clean_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Float32 scores that sort: padding and NaN come last, whatever the input."""
    scores = scores.float()
    return torch.where(mask & ~scores.isnan(), scores, -torch.inf)


def descending_rank(scores: Tensor, mask: Tensor) -> Tensor:
    """``(audios, tokens)`` long: 0 for the best token. Ties go to the earlier one; padding ranks after every token."""
    # Padding is on the right, so a stable sort leaves it behind tokens that score -inf as well.
    return invert(clean_scores(scores, mask).argsort(dim=1, descending=True, stable=True))


def invert(order: Tensor) -> Tensor:
    """The inverse of each row's permutation ``(audios, tokens)``."""
    index = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, index)


def keep_best(scores: Tensor, tokens: AudioTokens, counts: list[int]) -> Assignment:
    """Keep the ``counts[i]`` tokens of audio i with the largest scores ``(audios, tokens)``, in temporal order."""
    lengths = torch.tensor(counts, device=scores.device)
    kept = (descending_rank(scores, tokens.mask) < lengths[:, None]) & tokens.mask
    return Assignment.keep(kept, lengths, max(counts))
