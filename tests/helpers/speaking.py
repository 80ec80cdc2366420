"""A tiny model that speaks, saved as a checkpoint, and the commands that read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hf_tokcomp.patches.qwen2_5_omni import PATCH
from training_files import jsonl

import hf_tokcomp
from hf_tokcomp.inference.reader import Reader
from hf_tokcomp.models.versions import verdict
from hf_tokcomp.testing import sound

PROBLEM = verdict(PATCH)
TEXT = ("--max-new-tokens", "4")
SPEECH = ("--max-speech-tokens", "4")
"""The tiny talker never ends by itself."""
TRUTHS = ("what is this", "what now", "tell me what")


def save(folder: Path) -> Path:
    """Write the checkpoint."""
    from subjects.qwen2_5_omni import SUBJECT

    hf_tokcomp.patch(SUBJECT.model(), "none").save_pretrained(folder)
    return folder


def processor() -> Any:
    """Its processor: a real one needs torchvision, so that none can be saved and loaded here."""
    from subjects.qwen2_5_omni import SUBJECT

    return SUBJECT.make_processor()


def read_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands load that processor."""
    monkeypatch.setattr(Reader, "_load_processor", lambda _self: processor())


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
