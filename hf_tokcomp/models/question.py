"""Finding the user's question in a prompt's ids: the last user turn, without special tokens and placeholders."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ChatTokens:
    """How a vocabulary marks turns in the style of ChatML: ``start role newline ... end``.

    Args:
        start: id that opens a turn.
        user: id of the user's role.
        end: id that closes a turn.
        special: ids of special tokens.
    """

    start: int
    user: int
    end: int
    special: range


QWEN_CHAT = ChatTokens(start=151644, user=872, end=151645, special=range(151643, 1 << 31))
"""Qwen2's vocabulary, shared by several models: <|im_start|>, user, <|im_end|>; ids from 151643 on are special."""


def question_columns(ids: Tensor, mask: Tensor | None, chat: ChatTokens | None, dropped: list[int]) -> Tensor:
    """Find the columns that hold the user's question.

    Args:
        ids: ``(batch, prompt)``.
        mask: ``(batch, prompt)`` attention mask, or None.
        chat: how turns are marked; None if unknown.
        dropped: ids that are not text: the audio placeholder, padding and the like.

    Returns:
        ``(batch, prompt)`` bool: the last user turn of each row, or all of its text if the row has no turns.
    """
    text = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.to(ids.device).ne(0)
    for token in dropped:
        text &= ids != token
    if chat is None:
        return text
    text &= (ids < chat.special.start) | (ids >= chat.special.stop)
    column = torch.arange(ids.shape[1], device=ids.device)
    role = torch.nn.functional.pad(ids[:, 1:], (0, 1), value=-1)
    begins = (ids == chat.start) & (role == chat.user)
    first = torch.where(begins, column, -1).amax(1, keepdim=True)
    # From after the mark, role and newline up to the next end; if the prompt is cut off before it, to the last column.
    ends = (ids == chat.end) & (column > first)
    last = torch.where(ends, column, ids.shape[1]).amin(1, keepdim=True)
    inside = (column >= first + 3) & (column < last)
    return text & (inside | (first < 0))
