"""Fixtures of the tests of training data."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest
from training_files import wav


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `datasets` converts goes into the test's own folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets_cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three recordings, a.wav of 0.2 s, b.wav of 0.3 s and deep/c.wav of 0.4 s, of different pitch."""
    made = tmp_path / "speech"
    (made / "deep").mkdir(parents=True)
    for name, seconds, hertz in (("a.wav", 0.2, 300), ("b.wav", 0.3, 500), ("deep/c.wav", 0.4, 700)):
        (made / name).write_bytes(wav(seconds, hertz))
    return made
