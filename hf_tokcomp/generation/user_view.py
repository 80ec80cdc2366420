"""Wrappers that show the objects a user passes to `generate` the user's own prompt, not the shortened one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList


class UserPrompt:
    """The user's prompt, and the number of columns that stand for it in upstream's ids.

    Args:
        ids: ``(batch, prompt)`` the user's ids.
        short: number of columns of the short prompt.
    """

    def __init__(self, ids: Tensor, short: int) -> None:
        self.ids = ids
        self.short = short

    @property
    def dropped(self) -> int:
        """Number of columns by which the prompt was shortened."""
        return int(self.ids.shape[1]) - self.short

    def restore(self, ids: Tensor) -> Tensor:
        """Map ``(rows, short + new)`` to ``(rows, prompt + new)``; rows may repeat the batch's, as for beams."""
        prompt = self.ids.to(ids.device).repeat_interleave(ids.shape[0] // self.ids.shape[0], 0)
        return torch.cat([prompt, ids[:, self.short :]], 1)

    def with_sequences(self, outputs: Any) -> Any:
        """Put the user's prompt at the start of the sequences in `generate` outputs; a composite returns them first."""
        if type(outputs) is tuple:
            return (self.with_sequences(outputs[0]), *outputs[1:])
        if isinstance(outputs, Tensor):
            return self.restore(outputs)
        if hasattr(outputs, "sequences"):
            outputs.sequences = self.restore(outputs.sequences)
        return outputs

    def logits_processors(self, processors: Iterable[Any]) -> LogitsProcessorList:
        """The user's logits processors, called with the user's prompt."""
        return LogitsProcessorList([_UserLogitsProcessor(processor, self) for processor in processors])

    def stopping_criteria(self, criteria: Iterable[Any]) -> StoppingCriteriaList:
        """The user's stopping criteria, called with the user's prompt."""
        return StoppingCriteriaList([_UserStoppingCriteria(criterion, self) for criterion in criteria])

    def prefix_function(self, function: Callable[[int, Tensor], list[int]]) -> Callable[[int, Tensor], list[int]]:
        """The user's ``prefix_allowed_tokens_fn``, called with the user's prompt ``(prompt + new,)``."""

        def with_user_prompt(batch_id: int, ids: Tensor) -> list[int]:
            return function(batch_id, torch.cat([self.ids[batch_id].to(ids.device), ids[self.short :]]))

        return with_user_prompt

    def streamer(self, streamer: Any) -> _UserStreamer:
        """The user's streamer, which receives the user's prompt first."""
        return _UserStreamer(streamer, self)


class _Delegate:
    """Behaves like the user's object except for the overridden calls."""

    def __init__(self, inner: Any, prompt: UserPrompt) -> None:
        self.inner = inner
        self.prompt = prompt

    def __getattr__(self, name: str) -> Any:
        if name in ("inner", "prompt"):  # not set yet while being copied
            raise AttributeError(name)
        return getattr(self.inner, name)


class _UserLogitsProcessor(_Delegate, LogitsProcessor):  # type: ignore[misc]
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Any:
        return self.inner(self.prompt.restore(input_ids), scores)


class _UserStoppingCriteria(_Delegate, StoppingCriteria):  # type: ignore[misc]
    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Any:
        return self.inner(self.prompt.restore(input_ids), scores, **kwargs)


class _UserStreamer(_Delegate):
    def __init__(self, inner: Any, prompt: UserPrompt) -> None:
        super().__init__(inner, prompt)
        self.begun = False

    def put(self, value: Tensor) -> None:
        """Pass tokens on; the first ones are the prompt."""
        if not self.begun:
            self.begun = True
            value = self.prompt.restore(value.view(-1, self.prompt.short)).cpu()
        self.inner.put(value)
