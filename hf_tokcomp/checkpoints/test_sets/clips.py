"""Clips of one to three sounds in sequence, and questions about them."""

from collections.abc import Sequence

import numpy as np

from .prompts import NAMES, QUESTIONS
from .sources import SAMPLE_RATE, SOUNDS, Audio, level

MOST_SOUNDS = 3
SHORTEST, LONGEST_CUT = 1.5, 3.0  # length of each sound in seconds
LEVEL = 0.05  # root mean square of each sound, so that none is drowned out by another


def join(pieces: Sequence[Audio], pauses: Sequence[float], lead: float = 0.0, tail: float = 0.0) -> Audio:
    """`pieces` in sequence with `pauses` (seconds) between them, `lead` before the first and `tail` after the last."""
    silences = [np.zeros(round(s * SAMPLE_RATE), dtype=np.float32) for s in (lead, *pauses, tail)]
    parts = [silences[0]]
    for piece, silence in zip(pieces, silences[1:], strict=True):
        parts += [piece, silence]
    return np.concatenate(parts)


def cut(rng: np.random.Generator, audio: Audio, shortest: float = SHORTEST, longest: float = LONGEST_CUT) -> Audio:
    """A random, audible segment of `shortest` to `longest` seconds, at level `LEVEL`.

    Many recordings are one bark followed by silence: a segment must be at least 0.7 times as loud as the loudest of its
    length.
    """
    samples = min(len(audio), round(rng.uniform(shortest, longest) * SAMPLE_RATE))
    energy = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64))])
    starts = np.arange(0, len(audio) - samples + 1, SAMPLE_RATE // 20)
    levels = np.sqrt(np.maximum(energy[starts + samples] - energy[starts], 0.0))
    start = int(rng.choice(starts[levels >= 0.7 * levels.max()]))
    stretch = audio[start : start + samples]
    return np.asarray(stretch * (LEVEL / level(stretch)), dtype=np.float32)


def draw_sounds(rng: np.random.Generator, least: int = 1, most: int = MOST_SOUNDS) -> tuple[str, ...]:
    """`least` to `most` different sounds, with each number equally likely."""
    count = int(rng.integers(least, most + 1))
    return tuple(SOUNDS[int(i)] for i in rng.permutation(len(SOUNDS))[:count])


def draw_question(rng: np.random.Generator, kind: str, heard: Sequence[str]) -> tuple[str, tuple[str, ...], str]:
    """A question about a clip, its options in random order, and the correct one.

    There is one option more than the clip has sounds. If `kind` is "there", exactly one option is in the clip;
    otherwise the options are all sounds in the clip and one that is not.
    """
    absent = [sound for sound in SOUNDS if sound not in heard]
    absent = [absent[int(i)] for i in rng.permutation(len(absent))]
    if kind == "there":
        right = heard[int(rng.integers(len(heard)))]
        offered = [right, *absent[: len(heard)]]
    else:
        right = heard[0] if kind == "first" else absent[0]
        offered = [*heard, absent[0]]
    options = tuple(NAMES[offered[int(i)]] for i in rng.permutation(len(offered)))
    return QUESTIONS[kind], options, NAMES[right]


def draw_kind(rng: np.random.Generator) -> tuple[str, int]:
    """A kind of question, and the minimum number of sounds a clip needs for it."""
    kind = list(QUESTIONS)[int(rng.integers(len(QUESTIONS)))]
    return kind, 2 if kind == "first" else 1
