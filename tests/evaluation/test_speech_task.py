"""The ten utterances that ship with the package, as a task that needs no data set."""

from __future__ import annotations

import json
from pathlib import Path

import jiwer
import pytest
import soundfile
import tiny_whisper
from transformers import WhisperForConditionalGeneration, WhisperProcessor
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from hf_tokcomp.checkpoints import speech
from hf_tokcomp.cli import main
from hf_tokcomp.evaluation.items import Dataset, read_items
from hf_tokcomp.evaluation.tasks import get_task

pytestmark = pytest.mark.usefixtures("libraries_as_they_were", "one_thread")
RATE = 16_000
HALF = ("--compression", "ltbm", "--retention-ratio", "1/2", "--resamples", "100")


def test_the_utterances_are_read_without_a_data_set() -> None:
    found = read_items(get_task("speech"), Dataset(), RATE)
    assert [item.id for item in found.items] == [path.name for path, _ in speech()]
    assert [item.references for item in found.items] == [(text,) for _, text in speech()]
    assert found.samples == [soundfile.info(path).frames for path, _ in speech()]
    assert found.dataset == "librispeech"
    assert len({item.recordings for item in found.items}) == 10
    assert len(read_items(get_task("speech"), Dataset(count=3), RATE).items) == 3
    with pytest.raises(ValueError, match="have no splits; leave out 'test'"):
        read_items(get_task("speech"), Dataset(split="test"), RATE)


def test_another_table_may_be_named(tmp_path: Path) -> None:
    path, text = speech()[3]
    table = tmp_path / "test.jsonl"
    table.write_text(json.dumps({"audio": str(path), "text": text}) + "\n", encoding="utf-8")
    assert [item.references for item in read_items(get_task("speech"), Dataset(str(tmp_path)), RATE).items] == [(text,)]


def test_whisper_reads_them(tmp_path: Path) -> None:
    folder = tiny_whisper.save(tmp_path / "model", seconds=30)
    given = ["eval", "speech", "--model", str(folder), *HALF, "--max-new-tokens", "6", "--device", "cpu"]
    assert main([*given, "--output", str(tmp_path / "out")]) == 0
    model, processor = WhisperForConditionalGeneration.from_pretrained(folder), WhisperProcessor.from_pretrained(folder)
    normalise = EnglishTextNormalizer({})
    said = {}
    for path, _ in speech():
        inputs = processor(soundfile.read(path)[0], sampling_rate=RATE, return_tensors="pt")
        ids = model.generate(**inputs, max_new_tokens=6)
        said[path.name] = processor.batch_decode(ids, skip_special_tokens=True)[0].strip()
    answers = map(json.loads, (tmp_path / "out" / "answers-0.jsonl").read_text(encoding="utf-8").splitlines())
    assert {row["item"]: row["text"] for row in answers if row["run"] == "none@1"} == said
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert str(speech()[0][0].parent.parent) not in json.dumps(results), "a path of this machine"
    values = {score["method"]: score["value"] for score in results["scores"]}
    truths = [normalise(text) for _, text in speech()]
    assert set(values) == {"none", "ltbm"}
    assert values["none"] == pytest.approx(100 * jiwer.wer(truths, list(map(normalise, said.values()))))


def test_a_model_that_reads_prompts_is_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["eval", "speech", "--items", "2", *HALF, "--max-new-tokens", "4", "--output", str(out)]) == 0
    task = json.loads((out / "results.json").read_text(encoding="utf-8"))["tasks"]["speech"]
    assert (task["items"], task["title"]) == (2, "LibriSpeech, ten utterances")
    assert task["prompt"] == "Transcribe the digits.", "the prompt that comes with the shipped model"
    assert get_task("speech").template("qwen2_audio") == "Detect the language and recognize the speech: <|en|>"
