"""CompressedAudio and CompressionRecord: a compressor's output, and the record of a model's last call."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .assignment import Assignment


@dataclass(eq=False)
class CompressedAudio:
    """A compressor's output for a batch of audios.

    Args:
        features: ``(audios, slots, dim)``; values beyond an audio's count are padding.
        counts: slots of each audio.
        positions: ``(audios, slots)`` long, each slot's position in original tokens, strictly increasing.
        assignment: the map from tokens to slots; None for a method without one.
        span: ``(audios, slots, 2)`` long, the first token that a slot stands for and the one after the last, for a
            method without an assignment; otherwise None.

    Example:
        >>> compressor = hf_tokcomp.AudioTokenCompressor.from_config(hf_tokcomp.StrideConfig(retention_ratio=0.25))
        >>> compressed = compressor(hf_tokcomp.AudioTokens(torch.randn(1, 100, 64), lengths=[100]))
        >>> compressed.counts
        [25]
    """

    features: Tensor
    counts: list[int]
    positions: Tensor
    assignment: Assignment | None = None
    span: Tensor | None = None

    def times(self, frame_rate: float) -> Tensor | None:
        """``(audios, slots, 2)`` seconds, each slot's span; None if unknown."""
        if self.assignment is not None:
            return self.assignment.token_times(frame_rate)
        return None if self.span is None else self.span / frame_rate


@dataclass(eq=False)
class CompressionRecord:
    """The record of a model's last call, at ``model.audio_compressor.last``.

    Args:
        tokens_before: tokens of each audio before compression.
        tokens_after: tokens of each audio after it.
        assignment: the `Assignment` of the batch of audios; None for a method without one, and under ``none``.
        times: ``(audios, slots, 2)`` seconds, each slot's span; None under ``none``, and if unknown.
        columns: ``(batch, short)`` long, each column's place in the user's prompt, -1 for padding.
        labels: ``(batch, short)`` the user's labels, shortened; None without labels.
        width: length of the user's prompt.
        positions: ``(audios, slots)`` long, each slot's position in original tokens, as in `CompressedAudio`; None
            under ``none``.
        padding: tokens of padding behind each audio that count in ``tokens_before`` and ``tokens_after``, as pairs
            of before and after; None for a model that reads none. See `sound_before`.

    Example:
        >>> model = hf_tokcomp.patch(model, "average_pooling")
        >>> answer = model.generate(**inputs)
        >>> last = model.audio_compressor.last
        >>> last.tokens_before, last.tokens_after
        ([127], [64])
        >>> [round(second, 2) for second in last.times[0, 0].tolist()]
        [0.0, 0.08]
    """

    tokens_before: list[int]
    tokens_after: list[int]
    assignment: Assignment | None = None
    times: Tensor | None = None
    columns: Tensor | None = None
    labels: Tensor | None = None
    width: int = 0
    positions: Tensor | None = None
    padding: list[tuple[int, int]] | None = None

    @property
    def sound_before(self) -> list[int]:
        """Tokens of each audio that the budget counts: all of `tokens_before` but padding behind the sound."""
        if self.padding is None:
            return list(self.tokens_before)
        return [all_of_it - before for all_of_it, (before, _) in zip(self.tokens_before, self.padding, strict=True)]

    @property
    def sound_after(self) -> list[int]:
        """Slots that are left of each audio: all of `tokens_after` but padding behind the sound."""
        if self.padding is None:
            return list(self.tokens_after)
        return [all_of_it - after for all_of_it, (_, after) in zip(self.tokens_after, self.padding, strict=True)]

    def to_prompt(self, values: Tensor, fill: float | None = -100) -> Tensor:
        """Map values of the shortened prompt back to the columns of the user's prompt.

        Args:
            values: ``(batch, short, ...)``, for example predicted ids; rows may be repeated (beams).
            fill: the value of dropped columns; None for the value of the last kept column before them, so that the
                token after a dropped column is predicted from what the model really read before it.

        Returns:
            ``(batch, width, ...)``.

        Example:
            >>> model = hf_tokcomp.patch(model, "stride")
            >>> predicted = model(**inputs).logits.argmax(-1)
            >>> model.audio_compressor.last.to_prompt(predicted).shape == inputs["input_ids"].shape
            True
        """
        if self.columns is None:
            return values
        columns = self.columns.repeat_interleave(values.shape[0] // self.columns.shape[0], 0).to(values.device)
        if values.shape[1] != columns.shape[1]:
            raise ValueError(f"values have {values.shape[1]} columns, the shortened prompt has {columns.shape[1]}.")
        target = torch.where(columns < 0, self.width, columns)
        if fill is None:
            real = columns >= 0
            here = torch.arange(columns.shape[1], device=values.device).expand_as(columns)
            first = real.to(torch.uint8).argmax(1, keepdim=True).expand(-1, self.width + 1)
            source = first.scatter(1, target, torch.where(real, here, 0))[:, : self.width].cummax(1).values
            source = source.maximum(first[:, : self.width])
            return values.gather(1, _as_wide(source, values))
        out = values.new_full((values.shape[0], self.width + 1, *values.shape[2:]), fill)
        return out.scatter(1, _as_wide(target, values), values)[:, : self.width]


def _as_wide(index: Tensor, values: Tensor) -> Tensor:
    """Expand ``(batch, columns)`` to an index of whole columns of ``values``."""
    return index.reshape(*index.shape, *(1,) * (values.dim() - 2)).expand(*index.shape, *values.shape[2:])


class _Thread:
    """Represents a thread for as long as it lives."""


class RecordsOfThreads:
    """The record of each thread's last call.

    A thread that made a call reads its own. Any other thread, such as one that reads from a streamer, gets the latest;
    while several threads that made calls are alive this would be ambiguous, and reading raises.

    A copy or pickle keeps the record that its thread can read.
    """

    def __init__(self, record: CompressionRecord | None = None) -> None:
        self._here = threading.local()
        self._threads: weakref.WeakSet[_Thread] = weakref.WeakSet()
        self._latest = record

    def put(self, record: CompressionRecord | None) -> None:
        """Store the record of this thread's call."""
        if not hasattr(self._here, "thread"):
            self._here.thread = _Thread()
            self._threads.add(self._here.thread)
        self._here.record = self._latest = record

    def get(self) -> CompressionRecord | None:
        """The record that this thread can read.

        Raises:
            RuntimeError: this thread made no call, and several others did.
        """
        if hasattr(self._here, "thread"):
            record: CompressionRecord | None = self._here.record
            return record
        if len(self._threads) > 1:
            raise RuntimeError(
                f"{len(self._threads)} threads called this model, and each has its own record; read "
                "`model.audio_compressor.last` in the thread that made the call, right after it."
            )
        return self._latest

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return RecordsOfThreads, (self.get(),)
        except RuntimeError:
            return RecordsOfThreads, ()


def note(compressor: nn.Module, record: CompressionRecord | None) -> None:
    """Store the record of a call, also in copies of the compressor that PEFT trains."""
    for module in compressor.modules():
        records = getattr(module, "records", None)
        if isinstance(records, RecordsOfThreads):
            records.put(record)


def noted(compressor: nn.Module) -> CompressionRecord | None:
    """The record that this thread can read, or None if that is ambiguous."""
    try:
        record: CompressionRecord | None = compressor.last  # type: ignore[assignment]
    except RuntimeError:
        return None
    return record
