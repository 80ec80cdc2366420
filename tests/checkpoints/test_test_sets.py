"""What the shipped model is asked: splits that share nothing, items that are the same again and hold what is said."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hf_tokcomp.checkpoints.test_sets import clips, items, prompts, sources
from hf_tokcomp.checkpoints.test_sets.clips import join

needs_data = pytest.mark.skipif(
    not os.environ.get("HF_TOKCOMP_DATA"), reason="HF_TOKCOMP_DATA does not name a folder with digits/ and sounds/"
)


@pytest.fixture
def data() -> Path:
    return sources.data_folder()


@needs_data
def test_splits_share_no_recording(data: Path) -> None:
    for read in (sources.digit_recordings, sources.sound_recordings):
        train, test = ({recording.file for recording in read(data, split)} for split in ("train", "test"))
        assert train
        assert test
        assert not train & test
    # ESC-10 cuts several clips from one source: no source may be on both sides.
    train, test = ({r.file.split("-")[1] for r in sources.sound_recordings(data, split)} for split in ("train", "test"))
    assert not train & test


@needs_data
def test_test_set_is_deterministic_and_never_too_long(data: Path) -> None:
    first, again, other = (list(items.digit_strings(data, "test", 12, seed)) for seed in (3, 3, 4))
    assert all(np.array_equal(a.audio, b.audio) and a.text == b.text for a, b in zip(first, again, strict=True))
    assert [item.text for item in first] != [item.text for item in other]
    for item in first:
        assert 0.2 < len(item.audio) / sources.SAMPLE_RATE < 10
        assert 1 <= len(item.text.split()) <= 6
        assert [sources.DIGITS[int(name.split("_")[0])] for name in item.recordings] == item.text.split()
    with pytest.raises(ValueError, match="george"):
        next(items.digit_strings(data, speaker="nobody"))


@needs_data
@pytest.mark.parametrize("skill", ["sound_captions", "sound_choices"])
def test_clips_are_deterministic_and_hold_what_is_said(data: Path, skill: str) -> None:
    first, again, other = (list(items.TASKS[skill](data, "test", 60, seed)) for seed in (3, 3, 4))
    assert all(
        np.array_equal(a.audio, b.audio) and replace(a, audio=None) == replace(b, audio=None)
        for a, b in zip(first, again, strict=True)
    )
    assert [item.text for item in first] != [item.text for item in other]
    classes = {recording.file: recording.text for recording in sources.sound_recordings(data, "test")}
    assert {len(item.recordings) for item in first} == {1, 2, 3}
    for item in first:
        heard = [classes[file] for file in item.recordings]
        assert len(set(heard)) == len(heard)
        seconds = len(item.audio) / sources.SAMPLE_RATE
        assert 1.5 * len(heard) < seconds <= 3 * len(heard) + 0.2 * (len(heard) - 1) + 0.2 + 1e-3 < 10
        if skill == "sound_captions":
            assert item.text == ", then ".join(prompts.PHRASES[sound] for sound in heard)
            continue
        there = [prompts.NAMES[sound] for sound in heard]
        assert len(item.choices) == len(set(item.choices)) == len(heard) + 1
        assert item.text in item.choices
        if item.kind == "there":
            assert [choice for choice in item.choices if choice in there] == [item.text]
        else:
            absent = [choice for choice in item.choices if choice not in there]
            assert len(absent) == 1
            assert item.text == (there[0] if item.kind == "first" else absent[0])
    assert {item.kind for item in first} == (set(prompts.QUESTIONS) if skill == "sound_choices" else {""})


def test_cuts_hold_the_sound_at_one_level() -> None:
    """A bark of 0.4 s in 5 s of silence is in every cut, whatever the draw."""
    rng = np.random.default_rng(0)
    audio = np.zeros(5 * sources.SAMPLE_RATE, dtype=np.float32)
    bark = np.sin(np.arange(6400) / 5).astype(np.float32)
    audio[40_000:46_400] = bark
    starts = set()
    for _ in range(30):
        piece = clips.cut(rng, audio)
        assert 1.5 <= len(piece) / sources.SAMPLE_RATE <= 3
        assert np.sqrt(np.mean(piece**2)) == pytest.approx(0.05, rel=1e-3)
        share = np.sum(piece**2) / (0.05**2 * len(piece))
        assert share == pytest.approx(1, rel=1e-3)
        loud = np.flatnonzero(piece)
        assert np.ptp(loud) > 2500, "at least half of the bark"
        starts.add(int(loud[0]))
    assert len(starts) > 10
    short = clips.cut(rng, bark)
    assert len(short) == len(bark), "what is shorter stays whole"


def test_join_puts_silence_where_asked() -> None:
    ones = np.ones(4, dtype=np.float32)
    joined = join([ones, 2 * ones], [2 / sources.SAMPLE_RATE], lead=1 / sources.SAMPLE_RATE)
    assert joined.tolist() == [0, 1, 1, 1, 1, 0, 0, 2, 2, 2, 2]


def test_missing_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKCOMP_DATA", raising=False)
    with pytest.raises(ValueError, match="HF_TOKCOMP_DATA"):
        sources.data_folder()
    with pytest.raises(FileNotFoundError, match="digits"):
        sources.data_folder(tmp_path)
    (tmp_path / "digits").mkdir()
    with pytest.raises(FileNotFoundError, match="no recording of the test split"):
        sources.digit_recordings(tmp_path, "test")
