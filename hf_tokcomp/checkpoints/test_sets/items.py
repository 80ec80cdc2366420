"""The items of the test sets, made from recordings the model has not seen.

They are strings of digits joined from single digits, and clips of sounds from the held-out fold, for captioning or
questions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .clips import cut, draw_kind, draw_question, draw_sounds, join
from .prompts import CAPTION_PROMPT, DIGITS_PROMPT, caption, choice
from .sources import LONGEST, Audio, Recording, Split, digit_recordings, sound_recordings


@dataclass(frozen=True)
class Item:
    """A test item.

    Args:
        audio: 16 kHz samples `(samples,)`.
        prompt: the prompt.
        text: the correct answer.
        recordings: names of the files that the audio is made of, in order.
        choices: the options of a question.
        kind: the kind of question, a key of `prompts.QUESTIONS`; "" if it is not a question.
    """

    audio: Audio
    prompt: str
    text: str
    recordings: tuple[str, ...]
    choices: tuple[str, ...] = ()
    kind: str = ""


def digit_strings(
    data: Path,
    split: Split = "test",
    count: int = 300,
    seed: int = 0,
    speaker: str | None = None,
    digits: tuple[int, int] = (1, 6),
) -> Iterator[Item]:
    """Strings of digits, deterministic for the same arguments.

    Each is read by one speaker (`speaker`, or a random one) and has between ``digits[0]`` and ``digits[1]`` digits,
    each number equally likely, with pauses of 0.05 to 0.5 s. The recordings are unchanged except for a faint hiss 45 dB
    below the speech.
    """
    rng = np.random.default_rng([seed, 2])
    takes: dict[str, list[Recording]] = {}
    for recording in digit_recordings(data, split):
        takes.setdefault(recording.speaker, []).append(recording)
    if speaker is not None and speaker not in takes:
        raise ValueError(f"No recordings of {speaker!r}; speakers: {', '.join(sorted(takes))}.")
    speakers = [speaker] if speaker is not None else sorted(takes)
    for _ in range(count):
        own = takes[speakers[int(rng.integers(len(speakers)))]]
        length = int(rng.integers(digits[0], digits[1] + 1))
        while True:
            chosen = [own[int(i)] for i in rng.integers(0, len(own), size=length)]
            pauses = list(rng.uniform(0.05, 0.5, size=length - 1))
            audio = join([r.audio for r in chosen], pauses, *rng.uniform(0.05, 0.3, size=2))
            if len(audio) <= LONGEST:
                break
        hiss = rng.standard_normal(len(audio)) * np.sqrt(np.mean(np.square(audio))) * 10 ** (-45 / 20)
        text = " ".join(r.text for r in chosen)
        yield Item((audio + hiss).astype(np.float32), DIGITS_PROMPT, text, tuple(r.file for r in chosen))


def sound_captions(data: Path, split: Split = "test", count: int = 300, seed: int = 0) -> Iterator[Item]:
    """Clips of one to three different sounds to caption, deterministic for the same arguments."""
    rng = np.random.default_rng([seed, 3])
    for _ in range(count):
        heard = draw_sounds(rng)
        audio, files = _clip(rng, data, split, heard)
        yield Item(audio, CAPTION_PROMPT, caption(heard), files)


def sound_choices(data: Path, split: Split = "test", count: int = 300, seed: int = 0) -> Iterator[Item]:
    """Multiple-choice questions about such clips: which sound comes first, is present or is absent, equally often."""
    rng = np.random.default_rng([seed, 4])
    for _ in range(count):
        kind, least = draw_kind(rng)
        heard = draw_sounds(rng, least)
        audio, files = _clip(rng, data, split, heard)
        question, options, answer = draw_question(rng, kind, heard)
        yield Item(audio, choice(question, options), answer, files, options, kind)


def _clip(rng: np.random.Generator, data: Path, split: Split, heard: Sequence[str]) -> tuple[Audio, tuple[str, ...]]:
    """The named sounds in sequence, each cut to 1.5 to 3 s, with pauses of at most 0.2 s; and their files."""
    takes: dict[str, list[Recording]] = {}
    for recording in sound_recordings(data, split):
        takes.setdefault(recording.text, []).append(recording)
    chosen = [takes[sound][int(rng.integers(len(takes[sound])))] for sound in heard]
    audio = join([cut(rng, r.audio) for r in chosen], list(rng.uniform(0, 0.2, size=len(heard) - 1)), 0.1, 0.1)
    return audio, tuple(r.file for r in chosen)


TASKS: dict[str, Callable[..., Iterator[Item]]] = {
    "digits": digit_strings,
    "sound_captions": sound_captions,
    "sound_choices": sound_choices,
}
"""Functions that make items, by name of the skill; all take ``(data, split, count, seed)``."""
