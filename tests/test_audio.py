"""load_audio reads every form users hold, and says what is wrong with what it cannot read."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from hf_tokcomp.audio import load_audio

SECONDS = 0.5


def tone(rate: int, hertz: float = 440.0) -> np.ndarray:
    time = np.arange(int(rate * SECONDS)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def encoded(rate: int = 16_000, kind: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(rate), rate, format=kind)
    return buffer.getvalue()


def same_sound(samples: np.ndarray, tolerance: float = 0.01, rate: int = 16_000) -> None:
    """It is the tone at `rate`; the ends are left out, where resampling and lossy codecs ring."""
    assert samples.dtype == np.float32
    assert samples.shape == (int(rate * SECONDS),)
    middle = slice(rate // 10, -rate // 10)
    assert np.abs(samples - tone(rate))[middle].max() < tolerance


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("channels", [1, 2])
def test_files(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, np.stack([tone(rate)] * channels, axis=1), rate)
    same_sound(load_audio(path), tolerance=0.05 if suffix == "ogg" else 0.01)
    assert np.array_equal(load_audio(str(path)), load_audio(path))


def test_the_rate_asked_for() -> None:
    same_sound(load_audio(encoded(44_100), sampling_rate=24_000), rate=24_000)


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = tone(16_000), tone(16_000, hertz=100)
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    assert np.allclose(load_audio(tmp_path / "two.wav"), (left + right) / 2, atol=1e-6)


def test_a_misleading_name_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "tone.raw"
    path.write_bytes(encoded(kind="FLAC"))
    same_sound(load_audio(path))


FORMS: dict[str, Any] = {
    "bytes": lambda: encoded(),
    "bytearray": lambda: bytearray(encoded()),
    "file object": lambda: io.BytesIO(encoded(8_000)),
    "data address": lambda: "data:audio/wav;base64," + base64.b64encode(encoded()).decode(),
    "dict of array": lambda: {"path": None, "array": tone(8_000), "sampling_rate": 8_000},
    "dict of list": lambda: {"array": tone(16_000).tolist(), "sampling_rate": 16_000},
    "dict without rate": lambda: {"array": tone(16_000)},
    "dict of bytes": lambda: {"bytes": encoded(44_100), "path": "gone.wav"},
    "array": lambda: tone(16_000),
    "float64 array": lambda: tone(16_000).astype(np.float64),
    "int16 array": lambda: (tone(16_000) * 32768).astype(np.int16),
    "int32 array": lambda: (tone(16_000) * 2.0**31).astype(np.int32),
    "uint8 array": lambda: (tone(16_000) * 128 + 128).astype(np.uint8),
    "channels first": lambda: np.stack([tone(16_000)] * 2),
    "tensor": lambda: torch.tensor(tone(16_000), requires_grad=True),
    "tensor of channels": lambda: torch.tensor(np.stack([tone(16_000)] * 2)),
    "half tensor": lambda: torch.tensor(tone(16_000)).bfloat16(),
    "int16 tensor": lambda: torch.tensor((tone(16_000) * 32768).astype(np.int16)),
    "decoder": lambda: SimpleNamespace(
        get_all_samples=lambda: SimpleNamespace(data=torch.tensor(tone(8_000))[None], sample_rate=8_000)
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    same_sound(load_audio(FORMS[form]()))


def test_dict_of_path(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(8_000), 8_000)
    same_sound(load_audio({"bytes": None, "path": str(tmp_path / "tone.wav")}))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        load_audio(tmp_path / "gone.wav")


def test_what_is_no_audio_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("These are no samples.\n")
    (tmp_path / "nothing.wav").touch()
    soundfile.write(tmp_path / "silent.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 16_000, subtype="FLOAT")
    for name, words in {
        "notes.wav": "is not audio",
        "nothing.wav": "is empty",
        "silent.wav": "has no samples",
        "nan.wav": "NaN",
        "": "is a folder",
    }.items():
        with pytest.raises(ValueError, match=words) as error:
            load_audio(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        (b"", ValueError, "is empty"),
        (b"no sound", ValueError, "is not audio"),
        ("data:audio/wav;base64,AAAA", ValueError, "data:audio"),
        ({"text": "one"}, ValueError, "'array', 'bytes' or 'path'"),
        (np.zeros((16_000, 2)), ValueError, "transpose"),
        (np.zeros((1, 2, 3)), ValueError, r"\(1, 2, 3\)"),
        (np.zeros(0, dtype=np.float32), ValueError, "no samples"),
        (np.zeros(9, dtype=np.int64), TypeError, "int64"),
        (np.zeros(9, dtype=complex), TypeError, "complex"),
        ({"array": np.zeros(9), "sampling_rate": 0}, ValueError, "positive"),
        ({"array": np.zeros(1), "sampling_rate": 10**6}, ValueError, "too short"),
        (3.0, TypeError, "float"),
    ],
)
def test_what_cannot_be_read(source: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load_audio(source)
