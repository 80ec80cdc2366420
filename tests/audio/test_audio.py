"""load_audio reads every form users hold, and says what is wrong with what it cannot read."""

from __future__ import annotations

import base64
import io
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_from_bytes

import numpy as np
import pytest
import soundfile
import tiny
import torch

from hf_tokcomp.audio.loading import _Once, load_audio
from hf_tokcomp.training import AudioTextCollator

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


INTEGERS: dict[str, Callable[[list[int]], Any]] = {
    "int64 array": lambda values: np.asarray(values, dtype=np.int64),
    "list": lambda values: list(values),
    "tuple": lambda values: tuple(values),
    "list of channels": lambda values: [list(values), list(values)],
    "object array": lambda values: np.asarray(values, dtype=object),
    "uint16 array": lambda values: np.asarray(values).astype(np.uint16),
    "int8 array": lambda values: np.asarray(values).astype(np.int8),
    "tensor": lambda values: torch.tensor(values),
    "dict of list": lambda values: {"array": list(values), "sampling_rate": 16_000},
}


@pytest.mark.parametrize("form", INTEGERS)
def test_integers_of_unknown_scale_are_refused_in_any_form(form: str) -> None:
    with pytest.raises(TypeError, match=r"is float, int16, int32 or uint8, not \w+: its scale is unknown"):
        load_audio(INTEGERS[form]((tone(16_000) * 32768).astype(int).tolist()))


def test_integers_that_say_their_scale_are_scaled_in_any_form() -> None:
    samples = (tone(16_000) * 32768).astype(np.int16)
    same_sound(load_audio(list(samples)))
    same_sound(load_audio({"array": list(samples), "sampling_rate": 16_000}))
    same_sound(load_audio(tuple(tone(16_000).tolist())))


def test_channels_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        load_audio([[0.1, 0.2], [0.3]])


@pytest.fixture
def scale_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has been warned yet."""
    monkeypatch.setattr("hf_tokcomp.audio.loading._scale_warning", _Once())


@pytest.mark.usefixtures("scale_warning")
def test_one_warning_for_floats_that_are_far_out_of_range(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with caplog.at_level(logging.WARNING, logger="hf_tokcomp"):
        load_audio(tone(16_000) * 4)  # mixed without a limit
        assert caplog.records == []
        for scale in (32768, 3000, 100):
            load_audio(tone(16_000) * scale)
            soundfile.write(tmp_path / "loud.wav", tone(8_000) * scale, 8_000, subtype="FLOAT")
            load_audio(tmp_path / "loud.wav")
            load_audio({"array": (tone(16_000) * scale).tolist()})
    (record,) = caplog.records
    assert re.match(
        r"the given array has samples up to 163\d\d.*, where full scale is 1.* 32768\. Further", record.getMessage()
    )


@pytest.mark.usefixtures("scale_warning")
def test_the_warning_comes_once_whatever_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="hf_tokcomp"), ThreadPoolExecutor(8) as pool:
        list(pool.map(load_audio, [tone(16_000) * 1000] * 64))
    assert len(caplog.records) == 1


LONG = base64.b64encode(encoded()).decode()


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        (LONG, FileNotFoundError, r"There is no audio file .*\.\.\..* 'data:audio/wav;base64,\.\.\.', or as bytes"),
        ("no/" + "x" * 70_000, FileNotFoundError, "There is no audio file no/xxx"),
        (Path("x" * 70_000), FileNotFoundError, "There is no audio file xxx"),
        ("bad\0name.wav", FileNotFoundError, "There is no audio file"),
        ("data:audio/wav;base64," + LONG[:-3], ValueError, "is not valid base64"),
        ("data:audio/wav;base64" + LONG, ValueError, "has no comma"),
        ("data:audio/wav," + "x" * 70_000, ValueError, "is not audio"),
        ("s3://bucket/" + "x" * 70_000, ValueError, "supported are http://, https://, file:// and data: addresses"),
        ("file://elsewhere/" + "x" * 70_000, ValueError, "is not on this machine"),
        ("file:///gone%20" + "x" * 70_000, FileNotFoundError, "There is no audio file /gone x"),
        ("http://127.0.0.1:9/" + "x" * 70_000, ValueError, "Cannot read audio from http://127"),
        ({"x" * 70_000: 1}, ValueError, "'array', 'bytes' or 'path'"),
        ({"path": "x" * 70_000}, FileNotFoundError, "There is no audio file x"),
        ({"path": "x" * 70_000, "bytes": b"no"}, ValueError, "is not audio"),
    ],
)
def test_messages_show_what_was_given_shortened(source: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        load_audio(source)
    assert len(str(raised.value)) < 600


def test_file_addresses(tmp_path: Path) -> None:
    path = tmp_path / "with a blank, ä.wav"
    soundfile.write(path, tone(16_000), 16_000)
    for address in (path.as_uri(), path.as_uri().replace("file://", "FILE://localhost"), f"file:{path}"):
        same_sound(load_audio(address))
    data = "DATA:audio/wav;charset=x;BASE64," + LONG
    same_sound(load_audio(data))
    same_sound(load_audio("data:," + quote_from_bytes(encoded())))


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_collator_refuses_a_batch_whose_only_recording_is_empty(kind: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    collator = AudioTextCollator(tiny.processor(kind), prompt="tell me")
    for audio in (np.zeros(0, dtype=np.float32), str(tmp_path / "none.wav"), {"bytes": encoded()[:44], "path": None}):
        with pytest.raises(ValueError, match="has no samples"):
            collator([{"audio": audio, "text": "one"}])
