"""What the tests of models that speak share: recordings, truths, and options that keep a tiny model brief."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from hf_tokcomp.patches.qwen2_5_omni import PATCH
from training_files import jsonl

from hf_tokcomp.models.versions import verdict
from hf_tokcomp.testing import sound

PROBLEM = verdict(PATCH)
TEXT = ("--max-new-tokens", "4")
SPEECH = ("--max-speech-tokens", "4")
"""The tiny talker never ends by itself."""
TRUTHS = ("what is this", "what now", "tell me what")


def recordings(folder: Path, count: int = 3) -> list[Path]:
    """Recordings of different lengths."""
    found = []
    for number in range(count):
        samples = np.asarray(sound(0.4 + 0.2 * number, number))
        soundfile.write(folder / f"clip{number}.wav", samples, 16_000)
        found.append(folder / f"clip{number}.wav")
    return found


def table(folder: Path, count: int = 3) -> Path:
    """Recordings with the truths `TRUTHS`."""
    rows = [{"audio": path.name, "text": text} for path, text in zip(recordings(folder, count), TRUTHS, strict=False)]
    return jsonl(folder / "test.jsonl", *rows)
