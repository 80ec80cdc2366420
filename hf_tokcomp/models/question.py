"""The user's question in a prompt of ids: the last user turn, without special tokens and placeholders."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ChatTokens:
    """How a vocabulary marks turns, as ChatML does: ``start role newline ... end``.

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
"""Qwen2's vocabulary, which several models have: <|im_start|>, user, <|im_end|>; all later ids are special."""


def question_columns(ids: Tensor, mask: Tensor | None, chat: ChatTokens | None, dropped: list[int]) -> Tensor:
    """Which columns hold the user's question.

    Args:
        ids: ``(batch, prompt)``.
        mask: ``(batch, prompt)`` attention mask, or None.
        chat: how turns are marked; None where that is not known.
        dropped: ids that are no text: the audio placeholder, padding and the like.

    Returns:
        ``(batch, prompt)`` bool: the last user turn of every row; all of its text where the row has no turns.
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
    # Behind the mark, the role and the newline, up to the next end; a prompt cut off before it goes to its last column.
    ends = (ids == chat.end) & (column > first)
    last = torch.where(ends, column, ids.shape[1]).amin(1, keepdim=True)
    inside = (column >= first + 3) & (column < last)
    return text & (inside | (first < 0))
