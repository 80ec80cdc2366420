"""Reading the corpora of the model: spoken digits and environmental sounds, each with a fixed test split."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
SAMPLES_PER_TOKEN = 640  # an audio token is 40 ms
LONGEST = round(9.9 * SAMPLE_RATE)  # maximum samples of a recording; the model's window is 10 s
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SOUNDS = (
    "baby cry",
    "chainsaw",
    "clock tick",
    "dog bark",
    "fire crackling",
    "helicopter",
    "person sneeze",
    "rain",
    "rooster",
    "sea waves",
)
TEST_INDICES = range(5)  # per digit and speaker, following the test split of the Free Spoken Digit Dataset
TEST_FOLD = 4  # one of the five folds of ESC-10, in the numbering of the corpus

Audio = NDArray[np.float32]
Split = Literal["train", "test"]


@dataclass(frozen=True)
class Recording:
    """A recording: 16 kHz samples `(samples,)` in [-1, 1], its content, and the file it comes from."""

    audio: Audio
    text: str
    speaker: str
    file: str


def data_folder(argument: str | Path | None = None) -> Path:
    """The folder with ``digits/`` and ``sounds/``: the argument, or the environment variable HF_TOKCOMP_DATA."""
    named = argument or os.environ.get("HF_TOKCOMP_DATA")
    if not named:
        raise ValueError(
            "No data folder: pass --data FOLDER or set HF_TOKCOMP_DATA to a folder with digits/ and sounds/."
        )
    folder = Path(named)
    missing = [name for name in ("digits", "sounds") if not (folder / name).is_dir()]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no folder {' and no folder '.join(missing)}: put the Free Spoken Digit Dataset's recordings"
            " in digits/ and ESC-10's in sounds/<class>/, or name another folder with --data or HF_TOKCOMP_DATA."
        )
    return folder


def read_audio(file: str | Path) -> Audio:
    """A sound file as 16 kHz mono samples `(samples,)`."""
    samples, rate = soundfile.read(str(file), dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    return np.asarray(mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE), dtype=np.float32)


def level(audio: Audio) -> float:
    """Root mean square of the samples, never zero."""
    return float(np.sqrt(np.mean(np.square(audio)) + 1e-10))


@lru_cache(maxsize=4)
def digit_recordings(data: Path, split: Split) -> tuple[Recording, ...]:
    """Single spoken digits of `split`, sorted by file name."""
    found = []
    for file in sorted((data / "digits").glob("*.wav")):
        digit, speaker, index = file.stem.split("_")
        if (int(index) in TEST_INDICES) == (split == "test"):
            found.append(Recording(read_audio(file), DIGITS[int(digit)], speaker, file.name))
    return _not_empty(found, data / "digits", split)


@lru_cache(maxsize=4)
def sound_recordings(data: Path, split: Split) -> tuple[Recording, ...]:
    """Environmental sounds of `split`, sorted by class and file name; the speaker is empty."""
    found = []
    for file in sorted((data / "sounds").glob("*/*.ogg")):
        if (int(file.name.split("-")[0]) == TEST_FOLD) == (split == "test"):
            found.append(Recording(read_audio(file), file.parent.name.replace("_", " "), "", file.name))
    return _not_empty(found, data / "sounds", split)


def _not_empty(found: list[Recording], folder: Path, split: str) -> tuple[Recording, ...]:
    if not found:
        raise FileNotFoundError(f"{folder} holds no recording of the {split} split: check the file names in it.")
    return tuple(found)
