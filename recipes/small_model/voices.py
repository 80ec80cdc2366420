"""Synthetic speakers: espeak-ng reads digits in many voices, to complement the five real speakers."""

import io
import shutil
import subprocess

import numpy as np
import soundfile
import soxr

from hf_tokcomp.checkpoints.test_sets.sources import DIGITS, SAMPLE_RATE, Audio, Recording

ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan")
VARIANTS = ("", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5", "+klatt")
SILENCE = 0.003  # of full scale; espeak-ng's padding is below it


def require_espeak() -> str:
    """The path of espeak-ng; raises if it is not installed."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise RuntimeError("espeak-ng is not installed: `apt-get install espeak-ng`, or train with --no-synthetic.")
    return program


def speak(text: str, voice: str = "en-us", speed: int = 160, pitch: int = 50, gap: int = 0) -> Audio:
    """`text` spoken by espeak-ng at 16 kHz, with the surrounding silence trimmed.

    `speed` is in words per minute, `pitch` from 0 to 99, `gap` an extra pause between words in units of 10 ms.
    """
    command = [require_espeak(), "--stdout", "-v", voice, "-s", str(speed), "-p", str(pitch), "-g", str(gap), text]
    result = subprocess.run(command, capture_output=True, check=False)
    if result.returncode != 0 or not result.stdout:
        raise RuntimeError(f"espeak-ng could not speak with voice {voice!r}: {result.stderr.decode().strip()}")
    # When writing to a pipe, espeak-ng cannot fill in the length in the header; soundfile reads the available data.
    samples, rate = soundfile.read(io.BytesIO(result.stdout), dtype="float32")
    audio = np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), dtype=np.float32)
    loud = np.flatnonzero(np.abs(audio) > SILENCE)
    return audio[loud[0] : loud[-1] + 1] if loud.size else audio


def _voice(rng: np.random.Generator) -> tuple[str, int, int]:
    voice = str(rng.choice(ACCENTS)) + str(rng.choice(VARIANTS))
    return voice, int(rng.integers(100, 220)), int(rng.integers(15, 90))


def synthetic_digits(rng: np.random.Generator, speakers: int) -> list[Recording]:
    """All ten digits spoken individually by each of `speakers` random voices."""
    found = []
    for number in range(speakers):
        voice, speed, pitch = _voice(rng)
        for word in DIGITS:
            found.append(Recording(speak(word, voice, speed, pitch), word, f"espeak-{number}", ""))
    return found


def synthetic_strings(rng: np.random.Generator, count: int, longest: int = 6) -> list[Recording]:
    """Fluently spoken strings of 2 to `longest` digits, of at most 8 seconds each."""
    found: list[Recording] = []
    while len(found) < count:
        voice, speed, pitch = _voice(rng)
        words = [DIGITS[d] for d in rng.integers(0, 10, size=int(rng.integers(2, longest + 1)))]
        separator = ", " if rng.random() < 0.3 else " "
        audio = speak(separator.join(words), voice, speed, pitch, gap=int(rng.integers(0, 45)))
        if len(audio) <= 8 * SAMPLE_RATE:
            found.append(Recording(audio, " ".join(words), "espeak", ""))
    return found
