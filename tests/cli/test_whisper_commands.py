"""The commands with Whisper, which reads no prompt: what they say is what the model says, or they refuse it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jiwer
import pytest
import soundfile
import transformers
from subjects.checkpoints import folder_of

import hf_tokcomp
from hf_tokcomp.cards.card import CompressionCard
from hf_tokcomp.cli import main
from hf_tokcomp.inference.collator import AudioTextCollator
from hf_tokcomp.testing import sound
from hf_tokcomp.training import make_trainer

RATE = 16_000
TRUTHS = {0.9: "what is this", 1.7: "tell me now", 0.6: "good"}
POOLING = {"method": "average_pooling", "retention_ratio": 0.5, "padding_seconds": 0.3}
GIVEN = ("--compression", "average_pooling:padding_seconds=0.3", "--retention-ratio", "1/2", "--device", "cpu")
COUNTS = {0.9: (45, 23), 1.7: (85, 43), 0.6: (30, 15)}
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def name() -> str:
    return str(folder_of("whisper"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with recordings and a table of them."""
    rows = []
    for number, (seconds, text) in enumerate(TRUTHS.items()):
        soundfile.write(tmp_path / f"{number}.wav", sound(seconds, number), RATE)
        rows.append({"audio": f"{number}.wav", "text": text})
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answers(name: str, compression: Any) -> list[str]:
    """What the model says, one recording at a time, in upstream's words: no code of ours but the keyword's."""
    processor = transformers.AutoProcessor.from_pretrained(name)
    model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(name, compression=compression).eval()
    texts = []
    for number in range(len(TRUTHS)):
        samples, _ = soundfile.read(f"{number}.wav", dtype="float32")
        inputs = processor(samples, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True)
        ids = model.generate(**inputs, max_new_tokens=4, do_sample=False)
        texts.append(processor.batch_decode(ids, skip_special_tokens=True)[0].strip())
    return texts


def test_run_says_what_the_model_says(name: str, folder: Path, call: Call) -> None:
    code, out, err = call("run", "0.wav", "1.wav", "2.wav", "--model", name, *GIVEN, "--max-new-tokens", "4", "--json")
    assert code == 0, err
    readings = json.loads(out)["results"]
    assert [reading["text"] for reading in readings] == answers(name, POOLING)
    for reading, (_, slots) in zip(readings, COUNTS.values(), strict=True):
        wanted = {"tokens_before": 100, "tokens_after": slots + 15, "tokens_asked": slots + 15, "prompt": ""}
        assert {key: reading[key] for key in wanted} == wanted
    code, out, err = call("run", "0.wav", "--model", name, *GIVEN, "--max-new-tokens", "4")
    assert code == 0, err
    assert "100 -> 38, asked for 38" in out


def test_eval_scores_what_the_model_says(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    given = ["eval", "asr", "--model", name, "--dataset", "test.jsonl", "--output", "out", *GIVEN]
    assert main([*given, "--max-new-tokens", "4"]) == 0
    rows = [json.loads(line) for line in Path("out/answers-0.jsonl").read_text(encoding="utf-8").splitlines()]
    for score in json.loads(Path("out/results.json").read_text(encoding="utf-8"))["scores"]:
        own = sorted((row for row in rows if row["run"].startswith(score["method"])), key=lambda row: int(row["item"]))
        said = answers(name, "none" if score["method"] == "none" else POOLING)
        assert [row["text"] for row in own] == said
        assert score["value"] == pytest.approx(100 * jiwer.wer(list(TRUTHS.values()), said))
        assert {row["tokens_before"] for row in own} == {100}


def test_compare_counts_what_is_read(name: str, folder: Path, call: Call) -> None:
    code, out, err = call("compare", "0.wav", "--model", name, *GIVEN, "--max-new-tokens", "4", "--json")
    assert code == 0, err
    assert {row["tokens_after"] for row in json.loads(out)["answers"]} == {100, 38}


def test_bench_measures_the_decoder(name: str, folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_tokcomp.benchmarks.decoding.bound.MATRIX_BYTES", 1 << 16)
    timed = ("--new-tokens", "2", "--rounds", "1", "--seconds", "0", "--batch-size", "2", "--audio-seconds", "0.9")
    code, out, err = call("bench", "--model", name, *GIVEN, *timed, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["model"]["name"], report["model"]["weights"]) == (name, "its own")
    assert [row["tokens_after"] for row in report["rows"]] == [[100] * 2, [38] * 2, [100] * 2]
    config = transformers.AutoConfig.from_pretrained(name)
    token = config.decoder_layers * 2 * config.d_model * 4
    assert [row["cross_bytes_per_stream"] for row in report["rows"]] == [100 * token, 38 * token, 100 * token]


def test_pictures_show_the_sound(name: str, folder: Path, call: Call) -> None:
    for text in ((), ("--no-text",)):
        given = ("--model", name, "--compression", "top_k", "--max-new-tokens", "4", "--output", "tokens.png", *text)
        code, out, err = call("plot", "0.wav", *given)
        assert code == 0, err
        assert "top_k on 0.9 s" in out


def test_the_program_on_a_card_says_the_same(name: str, folder: Path) -> None:
    config = hf_tokcomp.CompressionConfig.from_dict(POOLING)
    card = CompressionCard(repo_id="someone/x", config=config, base_model="someone/base", model_type="whisper")
    assert "pipeline_tag: automatic-speech-recognition" in str(card)
    program = card.snippet().replace('"someone/x"', repr(POOLING)).replace('"someone/base"', repr(name))
    program = program.replace('device_map="auto"', 'device_map="cpu"').replace("**inputs", "**inputs, max_new_tokens=4")
    (folder / "question.wav").write_bytes((folder / "0.wav").read_bytes())
    said: list[str] = []
    exec(compile(program, "card", "exec"), {"print": said.append})
    assert said[0].strip() == answers(name, POOLING)[0]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("run", "0.wav", "--prompt", "what is this"), "'whisper' transcribes what it hears and reads no prompt"),
        (
            ("eval", "asr", "--dataset", "test.jsonl", "--output", "out", "--prompt", "what"),
            "reads no prompt; leave out 'what'",
        ),
        (("eval", "captioning", "--dataset", "test.jsonl", "--output", "out"), "so it cannot answer captioning"),
        (("bench", "--rivals"), "reads no prompt, so its decoder is measured alone; leave out --rivals."),
        (
            ("finetune", "--dataset", "test.jsonl", "--output-dir", "trained", "--max-steps", "1", "--use-cpu"),
            "which 'whisper' does not: train it with transformers' Seq2SeqTrainer",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_needs_a_prompt_is_refused(
    name: str, folder: Path, call: Call, command: tuple[str, ...], said: str
) -> None:
    code, _, err = call(*command, "--model", name, "--compression", "average_pooling")
    assert code != 0
    assert said in " ".join(err.split())


def test_labels_for_a_prompt_are_refused(name: str) -> None:
    processor = transformers.AutoProcessor.from_pretrained(name)
    model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(name, compression=POOLING)
    row = {"audio": sound(0.9, 0), "text": "this", "prompt": ""}
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="train it with transformers' Seq2SeqTrainer"):
        AudioTextCollator(processor)([row])
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="train it with transformers' Seq2SeqTrainer"):
        make_trainer(model, [row], None, processor=processor)


def test_models_are_listed(call: Call) -> None:
    code, out, _ = call("models", "--json")
    assert code == 0
    (row,) = (row for row in json.loads(out) if row["model_type"] == "whisper")
    assert (row["audio_tokens_per_second"], row["several_audios"]) == (50, False)
