"""A composite is asked for text through its part that writes: by the reader, in batches, and for pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from speaking import COMPOSITES, Speaking, speaking

import hf_tokcomp
from hf_tokcomp.inference.answers import answer
from hf_tokcomp.inference.asking import Prepared
from hf_tokcomp.inference.collator import AudioTextCollator
from hf_tokcomp.inference.prompts import model_inputs
from hf_tokcomp.inference.reader import Reader
from hf_tokcomp.plotting.reading import read_panels
from hf_tokcomp.testing import sound

HALF = {"method": "top_k", "retention_ratio": 0.5}
RATE = 16000


@pytest.fixture(params=COMPOSITES)
def one(request: pytest.FixtureRequest) -> Speaking:
    return speaking(request.param)


@pytest.fixture
def model(one: Speaking) -> Any:
    return one.subject.model()


@pytest.fixture
def processor(one: Speaking) -> Any:
    return one.subject.make_processor()


@pytest.fixture
def prompt(one: Speaking) -> str:
    return one.prompt(1, "what")


def tokens(one: Speaking) -> int:
    """Of 0.8 s."""
    return one.subject.patch.window_tokens(80)


def wanted(one: Speaking, processor: Any, prompt: str, samples: Any) -> str:
    alone = hf_tokcomp.patch(one.subject.model().thinker, HALF)
    inputs = model_inputs(processor, [prompt], [samples], RATE)
    ids = alone.generate(**inputs, max_new_tokens=4, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    return str(processor.tokenizer.batch_decode(ids)[0])


def test_the_reader_reads(
    one: Speaking, model: Any, processor: Any, prompt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hf_tokcomp.patch(model, "none").save_pretrained(tmp_path)
    monkeypatch.setattr(Reader, "_load_processor", lambda _self: processor)  # a real one needs torchvision
    reader = Reader(str(tmp_path))
    reader.load_model("cpu")
    batch = Prepared(model_inputs(processor, [prompt], [sound(0.8, 0)], RATE), [1])
    readings, _ = reader.read(batch, hf_tokcomp.CompressionConfig.from_dict(HALF), 4)
    assert readings[0].text == wanted(one, processor, prompt, sound(0.8, 0))
    assert (readings[0].tokens_before, readings[0].tokens_after) == (tokens(one), -(-tokens(one) // 2))


def test_answers_are_text(one: Speaking, model: Any, processor: Any, prompt: str) -> None:
    hf_tokcomp.patch(model, HALF)
    rows = [{"audio": {"array": sound(0.8, 0), "sampling_rate": RATE}}]
    given = answer(model, AudioTextCollator(processor, prompt), rows, max_new_tokens=4)
    assert given[0].text == wanted(one, processor, prompt, sound(0.8, 0))


@pytest.mark.parametrize("text", [True, False])
def test_pictures_show_its_tokens(one: Speaking, model: Any, processor: Any, prompt: str, text: bool) -> None:
    inputs = model_inputs(processor, [prompt], [sound(0.8, 0)], RATE)
    config = hf_tokcomp.CompressionConfig.from_dict(HALF)
    panel = read_panels(model, processor, inputs, [config], text=text, max_new_tokens=4)[0]
    assert panel.text == (wanted(one, processor, prompt, sound(0.8, 0)) if text else None)
    assert panel.attention is not None
    assert len(panel.attention) == tokens(one)
