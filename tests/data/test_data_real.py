"""Real recordings."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from training_files import RATE, write

from hf_tokcomp.audio.loading import load_audio
from hf_tokcomp.data import load_examples

DATA = os.environ.get("HF_TOKCOMP_DATA")


@pytest.mark.skipif(DATA is None, reason="HF_TOKCOMP_DATA names no folder of recordings")
def test_real_recordings(tmp_path: Path) -> None:
    """8 kHz wav, 44.1 kHz ogg and 16 kHz flac, by paths from a file elsewhere."""
    root = Path(str(DATA))
    digits = sorted((root / "digits").glob("*_0.wav"))[:20]
    sounds = sorted((root / "sounds").glob("*/4-*.ogg"))[:5]
    speech = sorted((root / "librispeech").glob("*.flac"))[:3]
    rows = [(path, path.name) for path in (*digits, *sounds, *speech)]
    assert len(rows) == 28
    path = write(
        tmp_path / "real.tsv", "path\ttext", *(f"{os.path.relpath(path, tmp_path)}\t{text}" for path, text in rows)
    )
    examples = load_examples(str(path), max_seconds=30)
    assert list(examples.dataset["text"]) == [text for _, text in rows]
    for row, (source, _) in zip(examples.dataset, rows, strict=True):
        assert np.array_equal(load_audio(row["audio"]), load_audio(source))
        assert row["length"] == len(load_audio(source))
    long = sum(len(load_audio(source)) > 3 * RATE for source, _ in rows)
    said = rf"^{long} of the 28 rows .*\n  line 22: {sounds[0]} is 5.* long, more than the model's limit of 3 s"
    with pytest.raises(ValueError, match=said):
        load_examples(str(path), max_seconds=3)
