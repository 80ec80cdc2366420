"""A real Whisper, tiny and random, writes down speech: in batches, in a language, long and empty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_whisper
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from hf_tokcomp.checkpoints import SMALL_MODEL
from hf_tokcomp.evaluation import Speech
from hf_tokcomp.evaluation.speech import Transcriber
from hf_tokcomp.inference.speech import Sound


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper.save(tmp_path_factory.mktemp("whisper"))


def loaded(folder: Path, language: str = "en") -> Transcriber:
    transcriber = Transcriber(Speech(str(folder), language))
    transcriber.load(torch.device("cpu"))
    return transcriber


def sound(seconds: float, seed: int = 0, rate: int = 16_000) -> Sound:
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return Sound((0.1 * noise).astype(np.float32), rate)


def test_it_is_upstreams_greedy_transcript(whisper: Path) -> None:
    sounds = [sound(1.0), sound(0.3, 1)]
    processor = WhisperProcessor.from_pretrained(whisper)
    model = WhisperForConditionalGeneration.from_pretrained(whisper)
    wanted = []
    for each in sounds:
        inputs = processor(each.samples, sampling_rate=16_000, return_tensors="pt")
        ids = model.generate(**inputs, language="de", task="transcribe")
        wanted += processor.batch_decode(ids, skip_special_tokens=True)
    assert loaded(whisper, "de").transcribe(sounds) == [text.strip() for text in wanted]
    assert len(set(wanted)) == 2
    assert all(wanted)


def test_the_language_is_set(whisper: Path) -> None:
    sounds = [sound(1.0), sound(1.5, 1)]
    assert len({tuple(loaded(whisper, language).transcribe(sounds)) for language in ("en", "de", "zh")}) == 3


def test_one_by_one_and_together_silent_and_long(whisper: Path) -> None:
    """Long is what exceeds Whisper's window, of two seconds here."""
    sounds = [sound(0), sound(1.0), sound(2 * tiny_whisper.SECONDS, 2), sound(0.2, 3), sound(0.00001, 4, 24_000)]
    transcriber = loaded(whisper)
    together = transcriber.transcribe(sounds)
    assert together == [transcriber.transcribe([each])[0] for each in sounds]
    assert together[0] == together[4] == ""
    assert all(together[1:4])
    assert together[2] != transcriber.transcribe([Sound(sounds[2].samples[: 16_000 * tiny_whisper.SECONDS], 16_000)])[0]
    assert transcriber.transcribe([]) == []


def test_other_rates_are_resampled(whisper: Path) -> None:
    time = np.arange(24_000) / 24_000
    fine = Sound((0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), 24_000)
    coarse = Sound((0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32), 16_000)
    transcriber = loaded(whisper)
    assert transcriber.transcribe([fine]) == transcriber.transcribe([coarse])
    assert transcriber.transcribe([fine]) != transcriber.transcribe([Sound(fine.samples, 16_000)])


def test_what_is_published(whisper: Path) -> None:
    settings = loaded(whisper).settings()
    assert settings["asr_model"] == whisper.name
    assert settings["asr_decoding"] == "greedy"
    assert settings["language"] == "en"
    assert settings.keys() >= {"speaker", "seed", "max_new_tokens", "asr_weights"}
    assert loaded(whisper).spellings == tiny_whisper.SPELLINGS


def test_an_english_whisper_knows_english(tmp_path: Path) -> None:
    folder = tiny_whisper.save(tmp_path, multilingual=False)
    assert loaded(folder).transcribe([sound(1.0)])[0]
    with pytest.raises(ValueError, match="knows English only, and the answers are in 'de'"):
        Transcriber(Speech(str(folder), "de"))


def test_what_is_no_whisper(whisper: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'fr'; it knows de, en, zh"):
        Transcriber(Speech(str(whisper), "fr"))
    with pytest.raises(ValueError, match="a model of type 'qwen2_audio'"):
        Transcriber(Speech(str(SMALL_MODEL), "en"))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Transcriber(Speech(str(tmp_path / "no"), "en"))
