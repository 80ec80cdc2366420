"""The real Whisper that a recipe makes, where `HF_TOKCOMP_WHISPER` names the folder that it wrote."""

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
from recipes.real_weights.measuring import COUNTED, Extent, Subject, answer, runs_of

pytestmark = pytest.mark.usefixtures("_own_registries")
WHISPER = os.environ.get("HF_TOKCOMP_WHISPER")
DATA = os.environ.get("HF_TOKCOMP_DATA")
needs_weights = pytest.mark.skipif(
    WHISPER is None or not Path(WHISPER).is_dir(), reason="HF_TOKCOMP_WHISPER names no folder with Whisper's tiny.en"
)
needs_speech = pytest.mark.skipif(
    DATA is None or not Path(DATA, "librispeech").is_dir(), reason="HF_TOKCOMP_DATA names no folder with librispeech/"
)


@needs_weights
def test_the_real_one_reads_the_shipped_speech() -> None:
    """With upstream's code alone, which also says whether the weights were converted as they should be."""
    folder = str(WHISPER)
    model, processor = WhisperForConditionalGeneration.from_pretrained(folder), WhisperProcessor.from_pretrained(folder)
    normalise = WordErrorRate(f"{folder}/normalizer.json").normalise
    sounds = [soundfile.read(path)[0] for path, _ in speech()]
    features = processor(sounds, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        read = processor.batch_decode(model.generate(features), skip_special_tokens=True)
    assert jiwer.wer([normalise(text) for _, text in speech()], [normalise(text) for text in read]) <= 0.2


@pytest.fixture(scope="module")
def errors() -> dict[str, float]:
    """Word error rates in % of the 50 utterances: of all tokens by ``all``, of half of them by method."""
    runs = runs_of(50, Extent(seeds=1, equal=(), compressions=("ltbm", "random", "bottom_k")))
    wanted = [run for run in runs if run.ratio != 0.25 and run.ratio != 0.1]
    found = answer(Subject("tiny.en", Path(str(WHISPER)), 50), Path(str(DATA), "librispeech"), None, wanted, 25)
    rates = {each["method"]: each["value"] for each in found["scores"] if each["metric"] == "wer"}
    return {"all" if method == COUNTED else method: rate for method, rate in rates.items()}


@needs_weights
@needs_speech
def test_uncompressed_it_reads_as_well_as_published(errors: dict[str, float]) -> None:
    assert errors["none"] <= 15.5


@needs_weights
@needs_speech
def test_cutting_the_padding_costs_nothing_that_shows(errors: dict[str, float]) -> None:
    assert abs(errors["all"] - errors["none"]) <= 2


@needs_weights
@needs_speech
def test_half_of_the_tokens_say_what_all_say(errors: dict[str, float]) -> None:
    assert errors["ltbm"] <= errors["all"] + 1


@needs_weights
@needs_speech
def test_methods_stand_in_the_order_that_papers_report(errors: dict[str, float]) -> None:
    assert errors["random"] >= errors["ltbm"] + 4
    assert errors["bottom_k"] >= errors["ltbm"] + 30
