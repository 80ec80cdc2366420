"""Recordings and tables that the tests of training data make."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import soundfile

from hf_tokcomp.audio.loading import load_audio
from hf_tokcomp.data import Examples

RATE = 16_000
STORED = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(RATE * seconds)) / RATE)).astype(np.float32)


def wav(seconds: float = 0.2, hertz: float = 440.0) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, tone(seconds, hertz), RATE, format="WAV", subtype="FLOAT")
    return content.getvalue()


def write(path: Path, *lines: str, start: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(start + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def jsonl(path: Path, *rows: Any) -> Path:
    return write(path, *(json.dumps(row, ensure_ascii=False) for row in rows))


def seconds(examples: Examples) -> list[float]:
    """How long each recording is, as the collator will read it."""
    return [round(len(load_audio(row["audio"])) / RATE, 3) for row in examples.dataset]


ROWS = ({"audio": "a.wav", "text": "one"}, {"audio": "b.wav", "text": "two"}, {"audio": "deep/c.wav", "text": "three"})


def parquet(path: Path, audio: pa.Array, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = more or {"text": [f"text {place}" for place in range(len(audio))]}
    pa.parquet.write_table(pa.table({"audio": audio} | columns), path)
    return path


FORMS = {
    "paths": lambda: pa.array(["a.wav", "deep/c.wav"]),
    "bytes": lambda: pa.array([wav(0.2), wav(0.4)]),
    "large_bytes": lambda: pa.array([wav(0.2), wav(0.4)], pa.large_binary()),
    "dicts": lambda: pa.array([{"bytes": wav(0.2), "path": "x"}, {"bytes": wav(0.4), "path": None}], STORED),
    "bytes_or_path": lambda: pa.array(
        [{"bytes": wav(0.2), "path": "x"}, {"bytes": None, "path": "deep/c.wav"}], STORED
    ),
    "arrays": lambda: pa.array([{"array": tone(s)[::2], "sampling_rate": 8_000} for s in (0.2, 0.4)]),
}
