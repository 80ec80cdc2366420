"""The recordings of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_tokcomp.audio.folders import recordings_in


def test_recordings_are_found_below_and_sorted(tmp_path: Path) -> None:
    names = ["b.WAV", "a.flac", "deep/er/c.mp3", "deep/d.m4a", ".hidden.wav", "notes.txt", "a.wav.json"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in recordings_in(tmp_path)]
    assert found == ["a.flac", "b.WAV", "deep/d.m4a", "deep/er/c.mp3"]


def test_a_folder_without_recordings_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"holds no recordings: no file ends in \.wav, "):
        recordings_in(tmp_path)
    for name in ("gone", "x" * 70_000):
        with pytest.raises(FileNotFoundError, match="There is no folder ") as error:
            recordings_in(tmp_path / name)
        assert len(str(error.value)) < 500
