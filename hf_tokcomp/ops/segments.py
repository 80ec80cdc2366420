"""Segments of an audio, written as the tokens that open one: where they begin and end, and how long ones are split.

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
    """Split the longest segment in two, the earliest of equals, its first half not the shorter one, until enough.

    A half is shorter than what it was cut from, so the lengths that are split one after the other never rise. Every
    place in a segment is where exactly one piece would be split, some time; taken by the length of that piece, ties to
    the earlier, the places are split in that order.

    Args:
        opens: the segments there are.
        mask: ``(audios, tokens)`` bool, False for padding.
        wanted: ``(audios,)`` long, how many segments there shall be; no fewer than there are.
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
    """Split every segment of more than ``most`` ``(audios,)`` tokens into as few equal parts as will do.

    Where it does not divide, the longer parts come first.
    """
    index = torch.arange(opens.shape[1], device=opens.device)
    start, end = spans(opens, mask.sum(1))
    size, offset = (end - start).clamp(min=1), index - start
    parts = -(-size // most[:, None])
    short, longer = size // parts, size % parts
    behind = offset - longer * (short + 1)  # past all the longer parts
    part_opens = torch.where(behind < 0, offset % (short + 1) == 0, behind % short == 0)
    return (opens | part_opens) & mask
