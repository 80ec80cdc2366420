"""What the user hands to `generate` sees the user's prompt, not the shortened one that upstream decodes behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList


class UserPrompt:
    """The user's prompt, and how many columns of upstream's ids stand for it.

    Args:
        ids: ``(batch, prompt)`` the user's ids.
        short: columns of the short prompt.
    """

    def __init__(self, ids: Tensor, short: int) -> None:
        self.ids = ids
        self.short = short

    @property
    def dropped(self) -> int:
        """How many columns shorter the prompt became."""
        return int(self.ids.shape[1]) - self.short

    def restore(self, ids: Tensor) -> Tensor:
        """``(rows, short + new)`` to ``(rows, prompt + new)``; rows repeat the batch's, as for beams."""
        prompt = self.ids.to(ids.device).repeat_interleave(ids.shape[0] // self.ids.shape[0], 0)
        return torch.cat([prompt, ids[:, self.short :]], 1)

    def with_sequences(self, outputs: Any) -> Any:
        """The outputs of `generate`, whose sequences begin with the user's prompt; a composite returns them first."""
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
        """The user's streamer, which gets the user's prompt first."""
        return _UserStreamer(streamer, self)


class _Delegate:
    """Looks like the user's object but for the calls that are overridden."""

    def __init__(self, inner: Any, prompt: UserPrompt) -> None:
        self.inner = inner
        self.prompt = prompt

    def __getattr__(self, name: str) -> Any:
        if name in ("inner", "prompt"):  # not there yet while being copied
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
