"""Makes training examples without end: random strings of digits, random scenes of sounds, each with its request."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import augment, prompts, scenes
from .sources import DIGITS, SAMPLE_RATE, SOUNDS, Audio, Recording, digit_recordings, sound_recordings
from .voices import synthetic_digits, synthetic_strings

LONGEST = round(9.9 * SAMPLE_RATE)  # the model's window is 10 s


@dataclass(frozen=True)
class Example:
    """A request with its recordings and answer.

    For the auxiliary losses, `digits` holds the digits in each recording, and `sounds` the class of each sound in it
    with its first sample and the one after its last.
    """

    audios: tuple[Audio, ...]
    request: str
    answer: str
    digits: tuple[tuple[int, ...], ...]
    sounds: tuple[tuple[int, int, int], ...] = ()

    @property
    def samples(self) -> int:
        return max(len(audio) for audio in self.audios)


def join(pieces: Sequence[Audio], pauses: Sequence[float], lead: float = 0.0, tail: float = 0.0) -> Audio:
    """`pieces` in a row with `pauses` (seconds) between them, `lead` before the first and `tail` after the last."""
    silences = [np.zeros(round(s * SAMPLE_RATE), dtype=np.float32) for s in (lead, *pauses, tail)]
    parts = [silences[0]]
    for piece, silence in zip(pieces, silences[1:], strict=True):
        parts += [piece, silence]
    return np.concatenate(parts)


class ExampleMaker:
    """Draws examples from the training split; `leave_out` names a speaker none of whose recordings are used.

    `synthetic` is the number of espeak-ng voices (and, times twelve, of strings they read in one breath), 0 for none.
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

    def draw(self, longest: int = 6, sounds: float = 0.5) -> Example:
        """A random example: with probability `sounds` a scene to describe or asked about, else digits to read.

        Strings have 1 to `longest` digits, and scenes a sound for every two of these.
        """
        if self.rng.random() < sounds:
            return self.scene(-(-longest // 2))
        count = int(self.rng.integers(1, longest + 1))
        if count >= 2 and self.rng.random() < 0.06:  # the string in two recordings, to be read in order
            first = int(self.rng.integers(1, count))
            parts = [self.digits(first), self.digits(count - first)]
        else:
            parts = [self.digits(count)]
        answer = " ".join(DIGITS[d] for _, digits in parts for d in digits)
        asked = prompts.reworded(self.rng, prompts.DIGITS_PROMPT, prompts.DIGITS_PARAPHRASES)
        request = prompts.random_request(self.rng, asked, audios=len(parts))
        return Example(tuple(a for a, _ in parts), request, answer, tuple(d for _, d in parts))

    def digits(self, count: int) -> tuple[Audio, tuple[int, ...]]:
        """A string of `count` digits (a little different for some ready-made ones) and the digits in it."""
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
        mixed = rng.random() < 0.25  # another speaker for every digit
        speed = augment.log_uniform(rng, 0.7, 1.4)
        slowest_pause = rng.choice([0.15, 0.4, 1.0])
        pieces = []
        for digit in digits:
            takes = speakers[names[int(rng.integers(len(names)))] if mixed else name][DIGITS[digit]]
            piece = takes[int(rng.integers(len(takes)))]
            if mixed:
                piece = piece * (0.08 / augment.level(piece))
            piece = augment.change_speed(piece, speed * augment.log_uniform(rng, 0.93, 1.07))
            pieces.append(piece * augment.decibels(rng.uniform(-4, 4)))
        pauses = list(rng.uniform(0.03, slowest_pause, size=len(digits) - 1))
        edges = rng.uniform(0, rng.choice([0.1, 1.0]), size=2)
        spare = (LONGEST - sum(map(len, pieces))) / SAMPLE_RATE
        shrink = min(1.0, max(0.0, spare) / (sum(pauses) + sum(edges) + 0.01))
        audio = join(pieces, [p * shrink for p in pauses], lead=edges[0] * shrink, tail=edges[1] * shrink)
        if len(audio) > LONGEST:  # six very slow digits: hurry them rather than cut one off
            audio = augment.change_speed(audio, 1.001 * len(audio) / LONGEST)
        return audio

    def _disturbed(self, audio: Audio) -> Audio:
        """Speech in the background noise of the day: none, a hiss, or a faint one of the training sounds."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.1:
            audio = augment.mix(rng, audio, self._clip(str(rng.choice(SOUNDS))), 12, 30)
        elif kind < 0.75:
            audio = self.noise.add(rng, audio, 8, 50)
        return audio * augment.decibels(rng.uniform(-12, 6))

    def _clip(self, name: str) -> Audio:
        return self.sounds[name][int(self.rng.integers(len(self.sounds[name])))]

    def scene(self, most: int) -> Example:
        """Up to `most` sounds in a row, to describe (six times in ten) or asked about."""
        rng = self.rng
        names = [str(name) for name in rng.permutation(SOUNDS)[: int(rng.integers(1, most + 1))]]
        pieces = [self._varied(name) for name in names]
        if len(names) > 1 or rng.random() < 0.6:  # else a whole recording, which may be longer than what is cut from it
            pieces = [scenes.cut(rng, piece) for piece in pieces]
        made = scenes.arrange(rng, pieces, names)
        audio = made.audio
        kind = rng.random()
        if kind < 0.15:
            # Of a class that is there: any other one would be there, too, when it is asked what is not.
            audio = augment.mix(rng, audio, self._clip(str(rng.choice(names))), 15, 30)
        elif kind < 0.5:
            audio = self.noise.add(rng, audio, 8, 50)
        audio = (audio[:LONGEST] * augment.decibels(rng.uniform(-12, 6))).astype(np.float32)
        if rng.random() < 0.6:
            asked = prompts.reworded(rng, prompts.SOUNDS_PROMPT, prompts.SOUNDS_PARAPHRASES)
            answer = made.caption
        else:
            question = str(rng.choice(scenes.kinds(names)))
            words = prompts.reworded(rng, scenes.QUESTIONS[question], prompts.QUESTION_PARAPHRASES[question])
            choice = scenes.ask(rng, names, question, words)
            asked, answer = choice.prompt, choice.answer
        heard = tuple((SOUNDS.index(name), *span) for name, span in zip(names, made.spans, strict=True))
        return Example((audio,), prompts.random_request(rng, asked), answer, ((),), heard)

    def _varied(self, name: str) -> Audio:
        """A recording of a class, sped up or down, shifted, or mixed with another of its class."""
        rng = self.rng
        audio = self._clip(name)
        if rng.random() < 0.2:  # two recordings of the class in turn
            other = self._clip(name)
            at = int(rng.integers(len(audio) // 4, 3 * len(audio) // 4))
            audio = np.concatenate([audio[:at], other[at:] * (augment.level(audio) / augment.level(other))])
        elif rng.random() < 0.25:  # or at once
            audio = augment.mix(rng, audio, self._clip(name), 0, 10)
        if rng.random() < 0.8:
            audio = augment.change_speed(audio, augment.log_uniform(rng, 0.75, 1.35))
        if rng.random() < 0.5:
            audio = np.roll(audio, int(rng.integers(len(audio))))
        return audio
