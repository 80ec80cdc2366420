"""The real Whisper that the recipe makes, where `HF_TOKCOMP_WHISPER` names the folder that it wrote."""

from __future__ import annotations

import os
from pathlib import Path

import jiwer
import pytest
import soundfile
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from hf_tokcomp.checkpoints import speech
from hf_tokcomp.evaluation.metrics.wer import WordErrorRate

WHISPER = os.environ.get("HF_TOKCOMP_WHISPER")
DATA = os.environ.get("HF_TOKCOMP_DATA")
needs_weights = pytest.mark.skipif(
    WHISPER is None or not Path(WHISPER).is_dir(), reason="HF_TOKCOMP_WHISPER names no folder with Whisper's tiny.en"
)


def read_all(folder: str, files: list[tuple[Path, str]]) -> float:
    """The word error rate in %, after Whisper's English normaliser."""
    model, processor = WhisperForConditionalGeneration.from_pretrained(folder), WhisperProcessor.from_pretrained(folder)
    normalise = WordErrorRate(f"{folder}/normalizer.json").normalise
    read = []
    for start in range(0, len(files), 10):
        sounds = [soundfile.read(path)[0] for path, _ in files[start : start + 10]]
        features = processor(sounds, sampling_rate=16_000, return_tensors="pt").input_features
        with torch.inference_mode():
            read += processor.batch_decode(model.generate(features), skip_special_tokens=True)
    return 100 * jiwer.wer([normalise(text) for _, text in files], [normalise(text) for text in read])


@needs_weights
def test_the_real_one_reads_the_shipped_speech() -> None:
    assert read_all(str(WHISPER), speech()) <= 20


@needs_weights
@pytest.mark.skipif(
    DATA is None or not Path(DATA, "librispeech").is_dir(), reason="HF_TOKCOMP_DATA names no folder with librispeech/"
)
def test_the_real_one_reads_as_well_as_published() -> None:
    folder = Path(str(DATA), "librispeech")
    rows = [line.split("\t") for line in (folder / "transcripts.tsv").read_text(encoding="utf-8").splitlines()]
    assert read_all(str(WHISPER), [(folder / f"{name}.flac", text) for name, text in rows]) <= 15.5
