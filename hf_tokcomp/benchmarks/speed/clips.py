"""Clips: the audio of one workload, with operations counted once and calls timed many times per candidate."""

from __future__ import annotations

import functools
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ...audio.loading import Samples
from ...generation.cache_guard import cached_tokens
from ...models.cache_names import cache_of
from ..measure import peak_bytes
from .candidates import Candidate
from .operations import count_operations
from .phases import PHASES, clock, first_call, read_between
from .sounds import draw_sound, lengths_of
from .subject import Inputs, Subject


@dataclass(frozen=True)
class Counted:
    """Results that are counted rather than timed.

    Args:
        operations: operations by phase; summed over calls.
        tokens_before: audio tokens of each clip.
        tokens_after: tokens of each clip that reach the language model.
        prompt: columns of the longest prompt in the key-value cache, including text and padding.
        cache_bytes: size of the key-value cache after the prompt; the maximum over calls.
        peak_bytes: peak memory of a call to the first token beyond what was allocated before; the maximum over calls.
        first_seconds: time of the very first call, including one-time work.
    """

    operations: dict[str, float]
    tokens_before: list[int]
    tokens_after: list[int]
    prompt: int
    cache_bytes: int
    peak_bytes: int
    first_seconds: float


class Clips:
    """One workload on one model.

    Args:
        subject: the model.
        seconds: length of the longest clip.
        audios: number of clips.
        ragged: whether they differ in length.
    """

    def __init__(self, subject: Subject, seconds: float, audios: int, ragged: bool) -> None:
        self.subject, self.seconds, self.audios = subject, seconds, audios
        self.lengths = lengths_of(seconds, audios, ragged)
        self.sounds: list[Samples] = [
            draw_sound(length, subject.rate, seed) for seed, length in enumerate(self.lengths)
        ]
        self._now = clock(subject.device)
        self._parts = subject.patch.parts(subject.model)

    @cached_property
    def _together(self) -> list[Inputs]:
        return [self.subject.inputs(self.sounds)]

    @cached_property
    def _singles(self) -> list[Inputs]:
        return [self.subject.inputs([sound]) for sound in self.sounds]

    def inputs(self, together: bool) -> list[Inputs]:
        """The inputs of each call: one call with all clips, or one per clip."""
        return self._together if together else self._singles

    def features(self, together: bool) -> float:
        """Seconds to compute the inputs."""
        begin = self._now()
        for sounds in [self.sounds] if together else [[sound] for sound in self.sounds]:
            self.subject.inputs(sounds)
        return self._now() - begin

    @torch.inference_mode()
    def count(self, candidate: Candidate, limit: float) -> Counted:
        """Count operations, tokens and bytes; these calls also serve as warm-up.

        Raises:
            TooSlow: a call takes longer than the limit, in seconds.
        """
        subject, found = self.subject, []
        placeholder = subject.patch.audio_token_id(subject.model)
        with candidate.ready(subject):
            for inputs in self.inputs(candidate.together):
                before = (inputs["input_ids"] == placeholder).sum(1).tolist()
                begin = self._now()
                call = functools.partial(candidate.generate, subject, inputs, 1)
                readings, returned = count_operations(
                    self._parts, functools.partial(call, return_dict_in_generate=True)
                )
                seconds = self._now() - begin
                if seconds > limit:
                    raise TooSlow(seconds)
                cache = cache_of(returned)
                held, columns = cache_bytes(cache), cached_tokens(cache)
                after = candidate.tokens_after(subject, before)
                del returned, cache
                peak = peak_bytes(call, subject.device)
                operations = readings.phases(candidate.compresses)
                found.append(Counted(operations, before, after, columns, held, peak, seconds))
        return _together(found)

    @torch.inference_mode()
    def total(self, candidate: Candidate, new_tokens: int) -> dict[str, float]:
        """Seconds up to the first token and after it, without other instrumentation."""
        first = rest = 0.0
        with candidate.ready(self.subject):
            for inputs in self.inputs(candidate.together):
                with first_call(self._parts.head, self._now) as seen:
                    begin = self._now()
                    candidate.generate(self.subject, inputs, new_tokens)
                    end = self._now()
                first, rest = first + seen[0] - begin, rest + end - seen[0]
        return {"first": first, "rest": rest}

    @torch.inference_mode()
    def phases(self, candidate: Candidate) -> dict[str, float]:
        """Seconds of the phases up to the first token, with a device synchronisation between them."""
        sums = dict.fromkeys(PHASES, 0.0)
        with candidate.ready(self.subject):
            for inputs in self.inputs(candidate.together):
                with read_between(self._parts, self._now) as readings:
                    candidate.generate(self.subject, inputs, 1)
                for phase, seconds in readings.phases(candidate.compresses).items():
                    sums[phase] += seconds
        return sums

    def measure(self, candidate: Candidate, new_tokens: int) -> dict[str, Any]:
        """One round: the phases in one call, the totals in another."""
        return {**self.phases(candidate), **self.total(candidate, new_tokens)}


class TooSlow(RuntimeError):
    """A call took longer than the limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"a call takes {seconds:.3g} s")
        self.seconds = seconds


def cache_bytes(cache: Any) -> int:
    """Bytes of the keys and values in a cache."""
    return sum(values.nbytes for layer in cache.layers for values in (layer.keys, layer.values))


def make_room(device: torch.device) -> None:
    """Release unused memory after a call that ran out of it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _together(found: Sequence[Counted]) -> Counted:
    """Combine several calls: the sum of operations, all clips, and the maximum of bytes."""
    return Counted(
        {phase: sum(each.operations[phase] for each in found) for phase in PHASES},
        [n for each in found for n in each.tokens_before],
        [n for each in found for n in each.tokens_after],
        max(each.prompt for each in found),
        max(each.cache_bytes for each in found),
        max(each.peak_bytes for each in found),
        sum(each.first_seconds for each in found),
    )
