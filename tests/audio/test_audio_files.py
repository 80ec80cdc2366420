"""load_audio reads files that other programs wrote, all of each, in every way that a file comes to it.

tests/fixtures/audio/README.md says how they were made.
"""

from __future__ import annotations

import base64
import csv
import functools
import io
import json
import os
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from places import FIXTURES

from hf_tokcomp.audio.loading import load_audio
from hf_tokcomp.data import load_examples

FOLDER = FIXTURES / "audio"
FILES = sorted(path.name for path in FOLDER.iterdir() if path.name != "README.md")
RATE, SECONDS, HERTZ = 16_000, 0.3, 440
LONGEST = 0.11
"""Seconds that an mp3 without a count of its padding, and a codec with blocks, may add."""


def content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def check_tone(samples: np.ndarray, seconds: float = SECONDS) -> None:
    """It is the tone, whole, and what a codec put around it is no longer than it may be."""
    assert samples.dtype == np.float32
    assert seconds * RATE <= len(samples) <= (seconds + LONGEST) * RATE
    sure = samples[round(0.05 * RATE) : round((seconds - 0.02) * RATE)]
    for part in np.array_split(sure, round(len(sure) / RATE / 0.05)):
        assert np.sqrt(np.mean(part**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.25)
    spectrum = np.abs(np.fft.rfft(sure * np.hanning(len(sure))))
    assert spectrum.argmax() * RATE / len(sure) == pytest.approx(HERTZ, abs=RATE / len(sure))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The fixtures over HTTP; its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(FOLDER)))
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()


WAYS: dict[str, Callable[[str, str], Any]] = {
    "path": lambda name, server: FOLDER / name,
    "string": lambda name, server: str(FOLDER / name),
    "bytes": lambda name, server: content(name),
    "file object": lambda name, server: io.BytesIO(content(name)),
    "open file": lambda name, server: (FOLDER / name).open("rb"),
    "dict of bytes": lambda name, server: {"bytes": content(name), "path": None},
    "dict of path": lambda name, server: {"bytes": None, "path": str(FOLDER / name)},
    "file address": lambda name, server: (FOLDER / name).as_uri(),
    "data address": lambda name, server: "data:audio/x;base64," + base64.b64encode(content(name)).decode(),
    "http address": lambda name, server: f"{server}/{name}",
    "loud address": lambda name, server: f"{server.replace('http', 'HTTP')}/{name}",
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_programs(name: str, server: str) -> None:
    seen = [load_audio(way(name, server)) for way in WAYS.values()]
    check_tone(seen[0])
    for samples in seen[1:]:
        assert np.array_equal(samples, seen[0])


def tables(folder: Path) -> dict[str, Path]:
    """All fixtures as rows of every kind of table and folder that the docs name."""
    made = {}
    (folder / "audio").mkdir()
    for name in FILES:
        (folder / "audio" / name).write_bytes(content(name))
    rows = [{"file_name": f"audio/{name}", "text": name} for name in FILES]
    made["jsonl"] = folder / "t.jsonl"
    made["jsonl"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    made["addresses"] = folder / "addresses.jsonl"
    made["addresses"].write_text(
        "".join(json.dumps({"audio": (FOLDER / name).as_uri(), "text": name}) + "\n" for name in FILES)
    )
    for place in (folder / "t.csv", folder / "audio" / "metadata.csv"):
        with place.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file_name", "text"])
            inside = place.parent.name == "audio"
            writer.writerows([name if inside else f"audio/{name}", name] for name in FILES)
    made["csv"], made["AudioFolder"] = folder / "t.csv", folder / "audio"
    stored = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    dicts = [{"bytes": content(name), "path": None} for name in FILES]
    for kind, column in (
        ("parquet of bytes", pa.array([content(name) for name in FILES])),
        ("parquet of dicts", pa.array(dicts, stored)),
        ("parquet of paths", pa.array([f"audio/{name}" for name in FILES])),
    ):
        made[kind] = folder / f"{kind}.parquet"
        pa.parquet.write_table(pa.table({"audio": column, "text": FILES}), made[kind])
    table = datasets.Dataset.from_dict({"audio": dicts, "text": FILES})
    made["save_to_disk"] = folder / "saved"
    table.cast_column("audio", datasets.Audio(decode=False)).save_to_disk(made["save_to_disk"])
    return made


def test_rows_of_every_kind_of_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for kind, path in tables(tmp_path).items():
        examples = load_examples(str(path))
        assert (list(examples.dataset["text"]), examples.skipped) == (FILES, []), kind
        for row in examples.dataset:
            assert np.array_equal(load_audio(row["audio"]), load_audio(FOLDER / row["text"])), (kind, row["text"])


def test_rows_of_datasets_themselves(tmp_path: Path) -> None:
    """What a Trainer's collator gets from a data set of one's own with ``Audio(decode=False)``."""
    for column in ([{"bytes": content(name), "path": name} for name in FILES], [str(FOLDER / name) for name in FILES]):
        table = datasets.Dataset.from_dict({"audio": column}).cast_column("audio", datasets.Audio(decode=False))
        for name, row in zip(FILES, table, strict=True):
            assert np.array_equal(load_audio(row["audio"]), load_audio(FOLDER / name))


MP3 = [name for name in FILES if name.endswith(".mp3")]


@pytest.mark.parametrize("name", MP3)
def test_mp3_with_and_without_tags_and_headers(name: str) -> None:
    """Tags of any size, also empty ones, before, behind and between: the sound is the same."""
    plain = load_audio(content(name))
    for size in (0, 1, 300):
        tag = b"ID3\x04\x00\x00" + bytes([0, 0, size >> 7, size & 0x7F]) + bytes(size)
        assert np.array_equal(load_audio(tag + content(name)), plain)
        assert np.array_equal(load_audio(tag * 2 + content(name)), plain)
    old = b"TAG" + bytes(125)
    assert np.array_equal(load_audio(content(name) + old), plain)


def test_mp3_files_one_behind_the_other_are_read_to_the_end() -> None:
    """Each has a count of its own frames only, or none."""
    names = [name for name in MP3 if name != "ffmpeg_streamed_vbr.mp3"]  # of another rate
    for first in names:
        samples = load_audio(b"".join(content(name) for name in (first, *names)))
        seconds = [len(load_audio(content(name))) / RATE for name in (first, *names)]
        assert len(samples) / RATE == pytest.approx(sum(seconds), abs=0.08 * len(seconds))
        assert np.abs(samples[-round(0.2 * RATE) : -round(0.1 * RATE)]).max() > 0.3


def test_an_mp3_that_breaks_off_is_read_as_far_as_it_goes() -> None:
    for name in MP3:
        half = content(name)[: len(content(name)) * 2 // 3]
        assert 0.1 < len(load_audio(half)) / RATE < SECONDS + LONGEST


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".wav") and "rf64" not in name])
@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_wav_of_unknown_size(name: str, size: int) -> None:
    """As a program leaves it that cannot go back, or was ended."""
    whole = load_audio(content(name))
    cut = bytearray(content(name))
    struct.pack_into("<I", cut, 4, size)
    struct.pack_into("<I", cut, cut.index(b"data") + 4, size)
    assert np.array_equal(load_audio(bytes(cut)), whole)


def test_an_empty_wav_stays_empty() -> None:
    """Whatever chunks follow its samples, of which there are none."""
    head = content("sox_streamed.wav")[:36] + b"data\0\0\0\0"
    for tail in (b"", b"LIST\x04\0\0\0INFO", b"fact\x04\0\0\0\0\0\0\0LIST\x05\0\0\0INFO\0\0"):
        with pytest.raises(ValueError, match=r"the given bytes has no samples\."):
            load_audio(head + tail)


def test_broken_headers_are_an_error_in_words() -> None:
    """Cut anywhere and with any byte changed near the beginning: samples or a ValueError, never anything else."""
    random = np.random.default_rng(0)
    for name in FILES:
        whole = content(name)
        for _ in range(40):
            broken = bytearray(whole[: random.integers(1, len(whole))])
            broken[random.integers(0, min(len(broken), 64))] = random.integers(0, 256)
            try:
                samples = load_audio(bytes(broken))
            except ValueError as error:
                said = str(error)
            else:
                said = "the given bytes are fine" if np.isfinite(samples).all() else ""
            assert said.startswith("the given bytes ")


def test_an_mp3_without_a_tag_of_a_real_voice() -> None:
    where = os.environ.get("HF_TOKCOMP_DATA")
    path = Path(where or "", "odd", "no_id3_tag_16k.mp3")
    if where is None or not path.is_file():
        pytest.skip("HF_TOKCOMP_DATA names no folder with odd/no_id3_tag_16k.mp3")
    samples = load_audio(path.read_bytes())
    assert len(samples) == 81_110
    assert np.array_equal(load_audio({"bytes": path.read_bytes(), "path": path.name}), samples)
