"""The speech that ships: what is listed is there, real, small and attributed."""

from __future__ import annotations

import json

import soundfile

from hf_tokcomp.checkpoints import recordings, speech


def test_ten_people_say_one_sentence_each() -> None:
    assert len(speech()) == len({path.name.split("-")[0] for path, _ in speech()}) == 10
    folder = speech()[0][0].parent
    seconds = {row["audio"]: row["seconds"] for row in json.loads((folder / "speech.json").read_text(encoding="utf-8"))}
    assert {path.name for path, _ in speech()} == {path.name for path in folder.glob("*.flac")}
    for path, text in speech():
        samples, rate = soundfile.read(path)
        assert rate == 16_000
        assert samples.ndim == 1
        assert abs(samples).max() > 0.05
        assert round(len(samples) / rate, 2) == seconds[path.name]
        assert 5 <= len(text.split()) <= 25
        assert 1 <= len(text.split()) / seconds[path.name] <= 5, "words per second of somebody who reads"
        assert text == text.lower()
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyz' ")


def test_it_is_under_a_megabyte() -> None:
    assert sum(path.stat().st_size for path, _ in speech()) < 1_000_000


def test_whom_it_is_from_is_said_where_it_is() -> None:
    said = " ".join((speech()[0][0].parent / "README.md").read_text(encoding="utf-8").split())
    for part in ("CC BY 4.0", "Vassil Panayotov, Guoguo Chen, Daniel Povey and Sanjeev Khudanpur", "openslr.org/12"):
        assert part in said


def test_it_is_not_among_what_the_shipped_model_reads() -> None:
    assert not {path for path, _ in speech()} & {path for path, _ in recordings()}
