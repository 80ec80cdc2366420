"""The memory of a key-value cache that we filled, so that a later call on it is either correct or raises.

The caller's ids and masks are as long as the user's prompt, but the cache is only as long as the compressed one.
Continuing on such a cache with the user's masks and positions would silently give wrong text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..errors import CacheContinuationError
from ..models.cache_names import CACHE
from ..prompt.shorten import ShortPrompt

START_ANEW = f"Start anew: pass the whole prompt with all its audio and without `{CACHE}`."


@dataclass(eq=False)
class CacheMemory:
    """What a cache was filled with: the user's prompt and its shortened form."""

    user_ids: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    next_position: Tensor

    @classmethod
    def of(cls, prompt: ShortPrompt) -> CacheMemory:
        """The memory of a cache filled with this prompt."""
        tensors = (prompt.user_ids, prompt.input_ids, prompt.attention_mask, prompt.position_ids, prompt.next_position)
        return cls(*(t.detach() for t in tensors))

    def select(self, rows: Tensor) -> CacheMemory:
        """The memory of these rows, in this order, after the cache's rows were selected or reordered."""
        tensors = (getattr(self, name) for name in self.__dataclass_fields__)
        return CacheMemory(*(t[rows.to(t.device)] for t in tensors))

    def repeat(self, times: int) -> CacheMemory:
        """The memory with each row repeated."""
        return self.select(torch.arange(self.user_ids.shape[0]).repeat_interleave(times))

    def for_rows(self, rows: int) -> CacheMemory:
        """The memory with each row repeated, as upstream repeats rows for beams and several return sequences."""
        own = self.user_ids.shape[0]
        if rows == own:
            return self
        if rows % own:
            raise CacheContinuationError(
                f"The cache was filled with {own} prompts, this call has {rows} rows. Continue with the same rows. "
                + START_ANEW
            )
        return self.repeat(rows // own)

    @cached_property
    def last_position(self) -> Tensor:
        """``(batch, 1)`` position id of the prompt's last token, from which later positions are counted."""
        return self.next_position[:, None] - 1

    def next_token(self, inputs: dict[str, Any], cached: int) -> tuple[Tensor, Tensor]:
        """A faster `continuation` for a single new id, since it runs for every generated token.

        Args:
            inputs: ``input_ids`` ``(batch, 1)``; the rest as in `continuation`, with mask values of 0 or 1.
            cached: number of tokens in the cache.

        Returns:
            The mask ``(batch, cached + 1)`` and the id's position ``(batch, 1)``.

        Raises:
            CacheContinuationError: as in `continuation`.
        """
        ids, mask, given = inputs["input_ids"], inputs.get("attention_mask"), inputs.get("position_ids")
        rows, short = self.input_ids.shape
        if ids.shape[0] != rows or cached < short or (given is not None and given.dim() != 2):
            step = self.continuation(inputs, cached, -1)
            return step.mask, step.positions[:, -1:]
        if mask is not None and mask.dtype != torch.long:
            mask = mask.ne(0).long()
        tail = self._tail_mask(mask, ids, cached - short)
        before, position = self.attention_mask.to(tail.device), self.last_position.to(tail.device)
        return torch.cat([before, tail], 1), position + tail.sum(1, keepdim=True)

    def continuation(self, inputs: dict[str, Any], cached: int, audio_token: int) -> Continuation:
        """Map a call's ids, mask and positions onto the short cache.

        Args:
            inputs: ``input_ids`` ``(batch, n)``, either only the new tokens or the user's whole text so far;
                ``attention_mask`` over all tokens, in the user's or the cache's columns, or None; ``position_ids``.
            cached: number of tokens in the cache.
            audio_token: the audio placeholder's id.

        Raises:
            CacheContinuationError: the call cannot be mapped; the message says what to do.
        """
        ids: Tensor | None = inputs.get("input_ids")
        if ids is None or inputs.get("inputs_embeds") is not None:
            raise CacheContinuationError(
                "Continue on a cache that holds compressed audio with `input_ids`, not with `inputs_embeds`."
            )
        memory = self.for_rows(ids.shape[0])
        long, short = self.user_ids.shape[1], self.input_ids.shape[1]
        done = cached - short
        if done < 0:
            raise CacheContinuationError("The cache was cropped into the compressed prompt. " + START_ANEW)
        whole = ids.shape[1] >= long and torch.equal(ids[:, :long], memory.user_ids.to(ids.device))
        later = ids[:, long:] if whole else ids
        new = later[:, done:] if whole else ids
        if new.shape[1] == 0:
            raise CacheContinuationError(
                "There is no token after those in the cache; append at least one to `input_ids`."
            )
        if new.shape[1] > 1 and bool((new == audio_token).any()):
            raise CacheContinuationError(
                "There are audio placeholders behind the cache: either this is not the prompt that it was filled with, "
                "or it is new audio, which cannot be added. " + START_ANEW
            )
        tail = self._tail_mask(inputs.get("attention_mask"), new, done).ne(0).long()
        mask = torch.cat([memory.attention_mask.to(tail.device), tail], 1)
        positions = memory.last_position.to(tail.device) + tail.cumsum(1)
        self._check_positions(inputs.get("position_ids"), positions[:, -new.shape[1] :])
        return Continuation(memory, new, later if whole else None, mask, positions.clamp(min=0), long, short)

    def _tail_mask(self, mask: Tensor | None, new: Tensor, done: int) -> Tensor:
        """The given mask of all tokens after the prompt, ``(batch, done + n)``."""
        after = done + new.shape[1]
        if mask is None:
            return torch.ones(new.shape[0], after, dtype=torch.long, device=new.device)
        long, short = self.user_ids.shape[1], self.input_ids.shape[1]
        if mask.dim() == 2 and mask.shape[1] in (long + after, short + after):
            return mask[:, mask.shape[1] - after :]
        raise CacheContinuationError(
            f"The cache holds a prompt of {long} tokens (compressed to {short}) and {done} more; with {new.shape[1]} "
            f"new ones `attention_mask` must be (batch, {long + after}), got {tuple(mask.shape)}. " + START_ANEW
        )

    @staticmethod
    def _check_positions(given: Tensor | None, ours: Tensor) -> None:
        """Raise unless the user's positions equal ours up to an offset, as they do if counted in the longer prompt."""
        if given is None:
            return
        given = given[..., -ours.shape[1] :].to(ours.device)
        shift = (given - ours).expand_as(ours) if given.dim() == 2 else None
        if shift is None or bool((shift != shift[:, :1]).any()):
            raise CacheContinuationError("These `position_ids` do not fit the cache; leave them out, they are known.")


@dataclass(eq=False)
class Continuation:
    """A call on a short cache, in the cache's own columns.

    Args:
        memory: the cache's memory, with as many rows as the call.
        new: ``(batch, n)`` ids that are not in the cache yet.
        later: ``(batch, ...)`` all ids after the user's prompt if the call passed the whole text; otherwise None.
        mask: ``(batch, cached + n)``.
        positions: ``(batch, after the prompt)`` position ids.
        long: length of the user's prompt.
        short: length of the compressed prompt.
    """

    memory: CacheMemory
    new: Tensor
    later: Tensor | None
    mask: Tensor
    positions: Tensor
    long: int
    short: int
