"""Segments of an audio, represented by their first tokens: their bounds, and splitting long ones.

``opens`` is ``(audios, tokens)`` bool, True for the first token of every segment; never for padding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .ranking import descending_rank


def slots(opens: Tensor, mask: Tensor) -> Tensor:
    """``(audios, tokens)`` long: every token's segment, counted from 0, and -1 for padding."""
    return torch.where(mask, opens.cumsum(1) - 1, -1)


def spans(opens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """``(audios, tokens)`` each: where a token's segment begins, and where it ends (exclusive)."""
    tokens = opens.shape[1]
    index = torch.arange(tokens, device=opens.device)
    start = torch.where(opens, index, 0).cummax(1).values
    opening = torch.where(opens, index, lengths[:, None])
    behind = torch.nn.functional.pad(opening[:, 1:], (0, 1), value=tokens)
    end = behind.flip(1).cummin(1).values.flip(1)
    return start, torch.minimum(end, lengths[:, None])


def halve_longest(opens: Tensor, mask: Tensor, wanted: Tensor) -> Tensor:
    """Repeatedly split the longest segment (the earliest of equals) in two, the first half getting the odd token.

    Halves are shorter than the piece they come from, so the lengths being split never increase. Every place in a
    segment splits exactly one piece eventually; sorted by the length of that piece, ties to the earlier, the places are
    in the order of the splits.

    Args:
        opens: the current segments.
        mask: ``(audios, tokens)`` bool, False for padding.
        wanted: ``(audios,)`` long, the number of segments wanted, at least the current one.
    """
    index = torch.arange(opens.shape[1], device=opens.device).expand_as(opens)
    start, end = spans(opens, mask.sum(1))
    piece = torch.zeros_like(index)
    for _ in range(opens.shape[1].bit_length()):
        middle = start + (end - start + 1) // 2
        piece = torch.where(index == middle, end - start, piece)
        start, end = torch.where(index >= middle, middle, start), torch.where(index >= middle, end, middle)
    free = mask & ~opens
    missing = wanted - opens.sum(1)
    return opens | (free & (descending_rank(piece, free) < missing[:, None]))


def split_longer_than(opens: Tensor, mask: Tensor, most: Tensor) -> Tensor:
    """Split every segment of more than ``most`` ``(audios,)`` tokens into as few equal parts as necessary.

    If the length does not divide evenly, the longer parts come first.
    """
    index = torch.arange(opens.shape[1], device=opens.device)
    start, end = spans(opens, mask.sum(1))
    size, offset = (end - start).clamp(min=1), index - start
    parts = -(-size // most[:, None])
    short, longer = size // parts, size % parts
    behind = offset - longer * (short + 1)  # after all longer parts
    part_opens = torch.where(behind < 0, offset % (short + 1) == 0, behind % short == 0)
    return (opens | part_opens) & mask
