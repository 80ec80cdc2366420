"""Scenes of one to three sounds, and what can be asked about them: a caption in order, or one of several choices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import augment
from .sources import SAMPLE_RATE, SOUNDS, Audio, Recording, Split, sound_recordings

SENTENCES = {
    "baby cry": "a baby cries",
    "chainsaw": "a chainsaw runs",
    "clock tick": "a clock ticks",
    "dog bark": "a dog barks",
    "fire crackling": "a fire crackles",
    "helicopter": "a helicopter flies",
    "person sneeze": "a person sneezes",
    "rain": "rain falls",
    "rooster": "a rooster crows",
    "sea waves": "sea waves roll",
}
QUESTIONS = {
    "first": "Which sound comes first?",
    "there": "Which sound is there?",
    "absent": "Which sound is not there?",
}
MOST_SOUNDS = 3
SHORTEST_CUT, LONGEST_CUT = 1.5, 3.0  # seconds of one sound
LEVEL = 0.05  # of every sound, since how loud a recording is says nothing
OPTIONS = 4
LETTERS = "ABCD"


@dataclass(frozen=True)
class Scene:
    """Sounds one after the other.

    Args:
        audio: 16 kHz samples `(samples,)`.
        sounds: their classes, in order, each once.
        spans: where each of them is, in samples.
        files: the recordings they were cut from.
    """

    audio: Audio
    sounds: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    files: tuple[str, ...] = ()

    @property
    def caption(self) -> str:
        """The sounds in a sentence, in order."""
        return ", then ".join(SENTENCES[name] for name in self.sounds)


@dataclass(frozen=True)
class Choice:
    """A question with options, of which exactly one is right."""

    kind: str
    prompt: str
    options: tuple[str, ...]
    answer: str


def cut(rng: np.random.Generator, audio: Audio) -> Audio:
    """A stretch of 1.5 to 3 s in which something is heard: a bark may last half a second of a clip of five."""
    samples = min(round(rng.uniform(SHORTEST_CUT, LONGEST_CUT) * SAMPLE_RATE), len(audio))
    best = audio[:samples]
    for _ in range(8):
        start = int(rng.integers(0, len(audio) - samples + 1))
        stretch = audio[start : start + samples]
        if augment.level(stretch) >= 0.7 * augment.level(audio):
            return stretch
        if augment.level(stretch) > augment.level(best):
            best = stretch
    return best


def arrange(
    rng: np.random.Generator, pieces: Sequence[Audio], sounds: Sequence[str], files: Sequence[str] = ()
) -> Scene:
    """The pieces in a row, equally loud, with pauses of 0.05 to 0.3 s between them and a faint hiss over all."""
    parts: list[Audio] = []
    spans = []
    for number, piece in enumerate(pieces):
        if number:
            parts.append(np.zeros(round(rng.uniform(0.05, 0.3) * SAMPLE_RATE), dtype=np.float32))
        start = sum(map(len, parts))
        parts.append(np.clip(piece * (LEVEL / augment.level(piece)), -1, 1).astype(np.float32))
        spans.append((start, start + len(piece)))
    audio = np.concatenate(parts)
    hiss = rng.standard_normal(len(audio)) * LEVEL * augment.decibels(-45)
    return Scene((audio + hiss).astype(np.float32), tuple(sounds), tuple(spans), tuple(files))


def kinds(sounds: Sequence[str]) -> list[str]:
    """What can be asked about a scene: one sound is the first of nothing, and leaves no room for one that is absent."""
    return list(QUESTIONS) if len(sounds) > 1 else ["there"]


def ask(rng: np.random.Generator, sounds: Sequence[str], kind: str, question: str | None = None) -> Choice:
    """A question about a scene with four options in random order (three where only two sounds are there, one not).

    Args:
        rng: draws the options.
        sounds: of the scene, in order.
        kind: ``first``, ``there`` or ``absent``.
        question: its words, if not those in `QUESTIONS`.
    """
    others = [str(name) for name in rng.permutation([name for name in SOUNDS if name not in sounds])]
    present = [str(name) for name in rng.permutation(list(sounds))]
    if kind == "first":
        answer = sounds[0]
        wrong = [*sounds[1:], *others]
    elif kind == "there":
        answer = present[0]
        wrong = others
    else:
        answer = others[0]
        wrong = present
    options = tuple(str(name) for name in rng.permutation([answer, *wrong[: OPTIONS - 1]]))
    lines = [f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return Choice(kind, "\n".join([question or QUESTIONS[kind], *lines]), options, answer)


def scenes(data: Path, split: Split = "test", count: int = 500, seed: int = 0, stream: int = 4) -> Iterator[Scene]:
    """Scenes of one to three sounds, equally often, of different classes; the same ones for the same arguments.

    `stream` tells apart draws for different ends with the same seed.
    """
    rng = np.random.default_rng([seed, stream])
    takes: dict[str, list[Recording]] = {}
    for recording in sound_recordings(data, split):
        takes.setdefault(recording.text, []).append(recording)
    for _ in range(count):
        names = [str(name) for name in rng.permutation(sorted(takes))[: int(rng.integers(1, MOST_SOUNDS + 1))]]
        chosen = [takes[name][int(rng.integers(len(takes[name])))] for name in names]
        yield arrange(rng, [cut(rng, r.audio) for r in chosen], names, [r.file for r in chosen])


def questions(data: Path, split: Split = "test", count: int = 500, seed: int = 0) -> Iterator[tuple[Scene, Choice]]:
    """A question about each of `count` scenes, of the kinds that suit it."""
    rng = np.random.default_rng([seed, 5])
    for scene in scenes(data, split, count, seed, stream=6):
        yield scene, ask(rng, scene.sounds, str(rng.choice(kinds(scene.sounds))))
