"""Streams: clips that the encoder has heard and the decoder writes down, together in one batch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...models.cross_attending import CrossAttendingPatch
from ..speed.candidates import Candidate
from ..speed.clips import TooSlow
from ..speed.operations import counting
from ..speed.phases import clock, read_between
from ..speed.sounds import draw_sound
from ..speed.subject import Subject
from .bound import Step
from .steps import at_every_token, held

COUNTED = 3
"""Tokens of the calls that are counted: the last is a step as any other."""


@dataclass(frozen=True)
class States:
    """What the encoder of a candidate returned for some clips.

    Args:
        output: its output, compressed or not, ``(clips, tokens, dim)``.
        tokens_before: tokens of each clip that the uncompressed decoder reads.
        tokens_after: those that this one reads.
    """

    output: Any
    tokens_before: list[int]
    tokens_after: list[int]

    def repeated(self, times: int) -> dict[str, Any]:
        """The keyword for `generate` with every clip this many times, as it repeats them itself for beams."""
        values = {name: value.repeat_interleave(times, 0) for name, value in self.output.items()}
        return {"encoder_outputs": type(self.output)(**values)}


class Heard:
    """Clips, and what the encoder makes of them under each candidate.

    Args:
        subject: the model.
        lengths: lengths of the clips in seconds.
    """

    def __init__(self, subject: Subject, lengths: Sequence[float]) -> None:
        self.subject, self.lengths = subject, list(lengths)
        self.inputs = subject.inputs([draw_sound(length, subject.rate, seed) for seed, length in enumerate(lengths)])
        self._parts, self._now = subject.patch.parts(subject.model), clock(subject.device)

    @torch.inference_mode()
    def states(self, candidate: Candidate) -> States:
        """What the decoder reads."""
        with candidate.ready(self.subject):
            output = self.subject.model.get_encoder()(**self.inputs)
            whole = [self._whole] * len(self.lengths)
            return States(output, whole, candidate.tokens_after(self.subject, whole))

    @torch.inference_mode()
    def measure(self, candidate: Candidate) -> dict[str, float]:
        """Seconds of the encoder, and of all that a patched one does beside it, both per clip."""
        with candidate.ready(self.subject), read_between(self._parts, self._now) as readings:
            self.subject.model.get_encoder()(**self.inputs)
            whole = self._now() - readings.start
        encoder = sum(end - begin for begin, end in zip(readings.encoder_begin, readings.encoder_end, strict=True))
        clips = len(self.lengths)
        return {"encoder": encoder / clips, "compressor": max(0.0, whole - encoder) / clips}

    @property
    def _whole(self) -> int:
        patch = self.subject.patch
        return patch.window_tokens(self.inputs[patch.features].shape[-1])


class Streams:
    """A batch for the decoder.

    Args:
        heard: the clips.
        states: what the encoder made of them, by candidate.
        times: how many streams each clip stands for.
    """

    def __init__(self, heard: Heard, states: dict[Candidate, States], times: int) -> None:
        self.subject, self.states, self.times = heard.subject, states, times
        patch: Any = self.subject.patch
        known: CrossAttendingPatch = patch
        self._decoder = known.language_model(self.subject.model)
        self._head = known.parts(self.subject.model).head
        self._now = clock(self.subject.device)

    @torch.inference_mode()
    def count(self, candidate: Candidate, limit: float) -> Step:
        """Count the work of a step; this also serves as warm-up.

        Raises:
            TooSlow: the call takes longer than the limit, in seconds.
        """
        begin = self._now()
        with (
            counting() as counter,
            held(self.subject.model, self._decoder, self._head) as last,
            at_every_token(self._head, counter.get_total_flops) as operations,
        ):
            self._generate(candidate, COUNTED)
        seconds = self._now() - begin
        if seconds > limit:
            raise TooSlow(seconds)
        return Step(operations[-1] - operations[-2], last.weight_bytes, last.cross_bytes, last.self_bytes)

    @torch.inference_mode()
    def measure(self, candidate: Candidate, new_tokens: int) -> dict[str, float]:
        """One round: seconds until the first token, keys and values of the audio included, and per token after it."""
        with at_every_token(self._head, self._now) as ends:
            begin = self._generate(candidate, new_tokens)
        # The last calls of the head are those of the tokens; before, a model may have found out the language.
        first, *others = ends[-new_tokens:]
        steps = [end - start for start, end in zip([first, *others[:-1]], others, strict=True)]
        return {"first": first - begin, "token": statistics.mean(steps)}

    def _generate(self, candidate: Candidate, new_tokens: int) -> float:
        """Decode, and return when it began, once the batch was there."""
        inputs = self.states[candidate].repeated(self.times)
        with candidate.ready(self.subject):
            begin = self._now()
            candidate.generate(self.subject, inputs, new_tokens)
        return begin
