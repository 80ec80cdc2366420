"""Generates an endless stream of training examples: random digit strings and sound clips, each with a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hf_tokcomp.checkpoints.test_sets import clips, prompts
from hf_tokcomp.checkpoints.test_sets.clips import join
from hf_tokcomp.checkpoints.test_sets.sources import (
    DIGITS,
    LONGEST,
    SAMPLE_RATE,
    SOUNDS,
    Audio,
    Recording,
    digit_recordings,
    level,
    sound_recordings,
)

from . import augment
from .voices import synthetic_digits, synthetic_strings


@dataclass(frozen=True)
class Example:
    """A prompt with its recordings and answer.

    For the auxiliary losses, `digits` holds the digits in each recording, and `sounds` the sounds of a single recording
    as class, first sample and end sample (exclusive); empty for speech.
    """

    audios: tuple[Audio, ...]
    request: str
    answer: str
    digits: tuple[tuple[int, ...], ...]
    sounds: tuple[tuple[int, int, int], ...] = ()

    @property
    def samples(self) -> int:
        return max(len(audio) for audio in self.audios)


class ExampleMaker:
    """Draws examples from the training split; `leave_out` names a speaker whose recordings are not used.

    `synthetic` is the number of espeak-ng voices (times twelve, the number of strings they read fluently), 0 for none.
    """

    def __init__(self, data: Path, seed: int = 0, leave_out: str | None = None, synthetic: int = 60) -> None:
        self.rng = np.random.default_rng([seed, 1])
        self.noise = augment.NoiseBank(self.rng)
        self.by_speaker = self._group([r for r in digit_recordings(data, "train") if r.speaker != leave_out])
        self.sounds = self._by_text(sound_recordings(data, "train"))
        self.voices = self._group(synthetic_digits(self.rng, synthetic)) if synthetic else {}
        self.strings = synthetic_strings(self.rng, 12 * synthetic) if synthetic else []

    @staticmethod
    def _by_text(recordings: Sequence[Recording]) -> dict[str, list[Audio]]:
        found: dict[str, list[Audio]] = {}
        for recording in recordings:
            found.setdefault(recording.text, []).append(recording.audio)
        return found

    def _group(self, recordings: Sequence[Recording]) -> dict[str, dict[str, list[Audio]]]:
        speakers = sorted({r.speaker for r in recordings})
        return {name: self._by_text([r for r in recordings if r.speaker == name]) for name in speakers}

    def draw(self, longest: int = 6, sounds: float = 0.7, questions: float = 0.5) -> Example:
        """A random example: with probability `sounds` a clip of sounds, otherwise a string of 1 to `longest` digits.

        `questions` is the share of multiple-choice questions among the clips; the others are for captioning.
        """
        if self.rng.random() < sounds:
            return self.question() if self.rng.random() < questions else self.caption()
        count = int(self.rng.integers(1, longest + 1))
        if count >= 2 and self.rng.random() < 0.06:  # the string split into two recordings, to be read in order
            first = int(self.rng.integers(1, count))
            parts = [self.digits(first), self.digits(count - first)]
        else:
            parts = [self.digits(count)]
        answer = " ".join(DIGITS[d] for _, digits in parts for d in digits)
        request = prompts.random_request(self.rng, prompts.DIGITS_PROMPT, prompts.DIGITS_PARAPHRASES, audios=len(parts))
        return Example(tuple(a for a, _ in parts), request, answer, tuple(d for _, d in parts))

    def digits(self, count: int) -> tuple[Audio, tuple[int, ...]]:
        """A string of `count` digits (slightly more or fewer for some ready-made ones) and its digits."""
        rng = self.rng
        if self.strings and count > 1 and rng.random() < 0.1:
            string = self.strings[int(rng.integers(len(self.strings)))]
            digits = tuple(DIGITS.index(word) for word in string.text.split())
            spoken = augment.change_speed(string.audio, augment.log_uniform(rng, 0.85, 1.25))
            audio = join([spoken], [], lead=rng.uniform(0, 0.6), tail=rng.uniform(0, 0.6))
        else:
            digits = tuple(int(d) for d in rng.integers(0, 10, size=count))
            audio = self._concatenated(digits)
        return self._disturbed(audio[:LONGEST]), digits

    def _concatenated(self, digits: tuple[int, ...]) -> Audio:
        rng = self.rng
        speakers = self.voices if self.voices and rng.random() < 0.15 else self.by_speaker
        names = list(speakers)
        name = names[int(rng.integers(len(names)))]
        mixed = rng.random() < 0.25  # a different speaker for every digit
        speed = augment.log_uniform(rng, 0.7, 1.4)
        slowest_pause = rng.choice([0.15, 0.4, 1.0])
        pieces = []
        for digit in digits:
            takes = speakers[names[int(rng.integers(len(names)))] if mixed else name][DIGITS[digit]]
            piece = takes[int(rng.integers(len(takes)))]
            if mixed:
                piece = piece * (0.08 / level(piece))
            piece = augment.change_speed(piece, speed * augment.log_uniform(rng, 0.93, 1.07))
            pieces.append(piece * augment.decibels(rng.uniform(-4, 4)))
        pauses = list(rng.uniform(0.03, slowest_pause, size=len(digits) - 1))
        edges = rng.uniform(0, rng.choice([0.1, 1.0]), size=2)
        spare = (LONGEST - sum(map(len, pieces))) / SAMPLE_RATE
        shrink = min(1.0, max(0.0, spare) / (sum(pauses) + sum(edges) + 0.01))
        audio = join(pieces, [p * shrink for p in pauses], lead=edges[0] * shrink, tail=edges[1] * shrink)
        if len(audio) > LONGEST:  # six very slow digits: speed them up rather than cut one off
            audio = augment.change_speed(audio, 1.001 * len(audio) / LONGEST)
        return audio

    def _disturbed(self, audio: Audio) -> Audio:
        """Speech with random background noise: none, a hiss, or a faint training sound."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.1:
            audio = augment.mix(rng, audio, self._clip(str(rng.choice(SOUNDS))), 12, 30)
        elif kind < 0.75:
            audio = self.noise.add(rng, audio, 8, 50)
        return audio * augment.decibels(rng.uniform(-12, 6))

    def _clip(self, name: str) -> Audio:
        return self.sounds[name][int(self.rng.integers(len(self.sounds[name])))]

    def caption(self) -> Example:
        """A clip to caption; one in six is a single sound of any length."""
        if self.rng.random() < 1 / 6:
            heard = clips.draw_sounds(self.rng, most=1)
            audio, spans = self._clip_of(heard, longest=5.0)
        else:
            heard = clips.draw_sounds(self.rng)
            audio, spans = self._clip_of(heard)
        request = prompts.random_request(self.rng, prompts.CAPTION_PROMPT, prompts.CAPTION_PARAPHRASES)
        return Example((audio,), request, prompts.caption(heard), ((),), spans)

    def question(self) -> Example:
        """A multiple-choice question about a clip."""
        kind, least = clips.draw_kind(self.rng)
        heard = clips.draw_sounds(self.rng, least)
        audio, spans = self._clip_of(heard)
        question, options, answer = clips.draw_question(self.rng, kind, heard)
        request = prompts.random_request(self.rng, prompts.choice(question, options))
        return Example((audio,), request, answer, ((),), spans)

    def _clip_of(self, heard: Sequence[str], longest: float = 3.0) -> tuple[Audio, tuple[tuple[int, int, int], ...]]:
        """The named sounds in sequence with random background noise, and the location of each."""
        rng = self.rng
        pieces = [clips.cut(rng, self._sound(name), 1.4, longest) for name in heard]
        pieces = [piece * augment.decibels(rng.uniform(-4, 4)) for piece in pieces]
        pauses = [*rng.uniform(0, 0.3, size=len(heard) - 1)]
        lead, tail = rng.uniform(0, 0.2, size=2)
        audio = clips.join(pieces, pauses, lead, tail)[:LONGEST]
        spans, start = [], round(lead * SAMPLE_RATE)
        for name, piece, pause in zip(heard, pieces, [*pauses, 0.0], strict=True):
            spans.append((SOUNDS.index(name), start, start + len(piece)))
            start += len(piece) + round(pause * SAMPLE_RATE)
        if rng.random() < 0.5:
            audio = self.noise.add(rng, audio, 8, 50)
        return (audio * augment.decibels(rng.uniform(-12, 6))).astype(np.float32), tuple(spans)

    def _sound(self, name: str) -> Audio:
        """A recording of a class: shifted, sped up or slowed down, sometimes two of them in sequence or mixed."""
        rng = self.rng
        audio = self._clip(name)
        if rng.random() < 0.15:
            other = self._clip(name)
            middle = int(rng.integers(len(audio) // 4, 3 * len(audio) // 4))
            audio = np.concatenate([audio[:middle], other[middle:] * (level(audio) / level(other))])
        elif rng.random() < 0.25:
            audio = augment.mix(rng, audio, self._clip(name), 0, 10)
        if rng.random() < 0.8:
            audio = augment.change_speed(audio, augment.log_uniform(rng, 0.75, 1.35))
        return np.roll(audio, int(rng.integers(len(audio)))) if rng.random() < 0.5 else audio
