"""Tiny copies of the benchmarks, each in the columns that its corpus or a public harness gives it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from training_files import STORED, wav

A, B = wav(0.4, 300), wav(0.6, 500)
OPTIONS = ["a dog", "a cat", "rain", "a car"]


def stored(*contents: bytes) -> pa.Array:
    """Audio as `datasets` keeps it in parquet."""
    return pa.array([{"bytes": content, "path": None} for content in contents], STORED)


def parquet(folder: Path, audio: str, contents: tuple[bytes, ...], **columns: Any) -> Path:
    path = folder / "test.parquet"
    pa.parquet.write_table(pa.table({audio: stored(*contents)} | columns), path)
    return path


def table(folder: Path, *rows: dict[str, Any]) -> Path:
    """A CSV beside a.wav and b.wav."""
    (folder / "a.wav").write_bytes(A)
    (folder / "b.wav").write_bytes(B)
    with (folder / "test.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "test.csv"


def clotho(folder: Path) -> Path:
    captions = [{f"caption_{n}": f"{who} barks {n}" for n in range(1, 6)} for who in ("a dog", "a cat")]
    return table(folder, {"file_name": "a.wav", **captions[0]}, {"file_name": "b.wav", **captions[1]})


def clothoaqa(folder: Path) -> Path:
    rows = []
    for question, answers in (
        ("Is it raining?", ("yes", "Yes", "yes")),
        ("Are there birds?", ("yes", "no", "yes")),
        ("What is it?", ("rain", "water", "rain")),
    ):
        rows += [{"file_name": "a.wav", "QuestionText": question, "answer": each} for each in answers]
    return table(folder, *rows)


def librispeech(folder: Path) -> Path:
    import soundfile
    from training_files import tone

    chapter = folder / "84" / "121123"
    chapter.mkdir(parents=True)
    for name, hertz in (("84-121123-0000", 300), ("84-121123-0001", 400)):
        soundfile.write(chapter / f"{name}.flac", tone(0.4, hertz), 16_000)
    lines = "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT IN LESS THAN FIVE MINUTES\n"
    (chapter / "84-121123.trans.txt").write_text(lines)
    return folder


def transcripts(folder: Path) -> Path:
    import soundfile
    from training_files import tone

    soundfile.write(folder / "1-0.flac", tone(0.4), 16_000)
    (folder / "transcripts.tsv").write_text("1-0\tgo do you hear\n")
    return folder


def mmau(folder: Path) -> Path:
    (folder / "a.wav").write_bytes(A)
    (folder / "b.wav").write_bytes(B)
    rows = [
        {"id": "x1", "audio_id": "./a.wav", "question": "What is it?", "choices": OPTIONS, "answer": "a cat"},
        {"id": "x2", "audio_id": "./b.wav", "question": "And this?", "choices": OPTIONS[:2], "answer": "a dog"},
    ]
    for row, task in zip(rows, ("sound", "speech"), strict=True):
        row["task"] = task
    (folder / "mmau.json").write_text(json.dumps(rows))
    return folder / "mmau.json"


LAYOUTS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "AudioLLMs/audiocaps_test": (
        "audiocaps",
        lambda folder: parquet(folder, "context", (A, A, B), answer=["a dog barks", "a dog", "rain falls"]),
    ),
    "TwinkStart/AudioCaps": (
        "audiocaps",
        lambda folder: parquet(folder, "audio", (A, B), caption=[["a dog barks", "a dog"], ["rain falls"]]),
    ),
    "AudioCaps, the corpus": (
        "audiocaps",
        lambda folder: table(
            folder,
            {"audiocap_id": 1, "youtube_id": "p", "start_time": 3, "audio": "a.wav", "caption": "a dog barks"},
            {"audiocap_id": 2, "youtube_id": "p", "start_time": 3, "audio": "a.wav", "caption": "a dog"},
            {"audiocap_id": 3, "youtube_id": "q", "start_time": 9, "audio": "b.wav", "caption": "rain falls"},
        ),
    ),
    "Clotho, the corpus": ("clotho", clotho),
    "lmms-lab-audio/ClothoAQA": (
        "clothoaqa",
        lambda folder: parquet(
            folder, "audio", (A, A, A, B), question=["Is it loud?"] * 3 + ["What?"], answer=["yes"] * 3 + ["rain"]
        ),
    ),
    "AudioLLMs/clotho_aqa_test": (
        "clothoaqa",
        lambda folder: parquet(
            folder, "context", (A, B), instruction=["Is it loud?", "What is it?"], answer=["no", "rain"]
        ),
    ),
    "ClothoAQA, the corpus": ("clothoaqa", clothoaqa),
    "lmms-lab-audio/mmau": (
        "mmau",
        lambda folder: parquet(
            folder,
            "audio",
            (A, B),
            question=["What is it?", "And this?"],
            choices=[json.dumps(OPTIONS), str(OPTIONS)],
            answer=["a cat", "(C) rain"],
            task=["sound", "music"],
        ),
    ),
    "AudioLLMs/MMAU-mini": (
        "mmau",
        lambda folder: parquet(
            folder,
            "context",
            (A, B),
            instruction=["What is it?", "And this?"],
            choices=[OPTIONS, OPTIONS],
            answer=["a cat", "B"],
            other_attributes=[{"task": "sound"}, {"task": "speech"}],
        ),
    ),
    "MMAU, its own JSON": ("mmau", mmau),
    "LibriSpeech, the corpus": ("librispeech", librispeech),
    "transcripts.tsv": ("librispeech", transcripts),
    "lmms-lab-audio/librispeech": (
        "librispeech",
        lambda folder: parquet(folder, "audio", (A, B), gt=["go do you hear", "but in less"], source=["a", "b"]),
    ),
    "AudioLLMs/librispeech_test_clean": (
        "librispeech",
        lambda folder: parquet(folder, "context", (A, B), answer=["go do you hear", "but in less"]),
    ),
    "lmms-lab-audio/covost2_en-zh": (
        "covost2",
        lambda folder: parquet(folder, "audio", (A, B), translation=["你好", "谢谢"]),
    ),
    "CoVoST 2, the corpus": (
        "covost2",
        lambda folder: table(
            folder,
            {"path": "a.wav", "sentence": "Hello.", "translation": "你好", "client_id": "c"},
            {"path": "b.wav", "sentence": "Thanks.", "translation": "谢谢", "client_id": "d"},
        ),
    ),
}
"""By name: the task, and what makes it in a folder and returns what --dataset is given."""
