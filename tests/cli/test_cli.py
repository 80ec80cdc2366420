"""The command line: what it prints, what it refuses, and that an error is one line and a non-zero exit."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compared
import jiwer
import numpy as np
import pytest
import soundfile
import tiny
import transformers
import warm
from shipped import needs_small_model
from training_files import jsonl
from typer.testing import CliRunner

import hf_tokcomp
from hf_tokcomp.checkpoints import recordings
from hf_tokcomp.cli import app, main
from hf_tokcomp.config.checks import metadata_of
from hf_tokcomp.evaluation.metrics.texts import plain
from hf_tokcomp.evaluation.plan import ALL, plan
from hf_tokcomp.inference.reader import Reader
from hf_tokcomp.inference.recordings import Recording
from hf_tokcomp.models import versions

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models of both kinds, one with a stored compression, recordings, a manifest, and what is no recording."""
    folder = tmp_path_factory.mktemp("cli")
    for kind in tiny.KINDS:
        model = tiny.model(kind)
        model.save_pretrained(folder / kind)
        tiny.processor(kind).save_pretrained(folder / kind)
    hf_tokcomp.patch(model, {"method": "stride", "retention_ratio": 0.2})
    model.save_pretrained(folder / "stored")
    tiny.processor(kind).save_pretrained(folder / "stored")
    soundfile.write(folder / "long.wav", tiny.sound(0.96, 1), tiny.RATE)
    soundfile.write(folder / "short.flac", tiny.sound(0.5, 2), tiny.RATE)
    soundfile.write(folder / "blip.wav", tiny.sound(0.02, 2), tiny.RATE)
    (folder / "notes.wav").write_text("no sound\n")
    lines = [{"audio": "long.wav", "text": "Please, tell me!"}, {"audio": "short.flac", "text": "a", "prompt": "what"}]
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    hf_tokcomp.CompressionConfig(method="ltbm", max_tokens=3).save_pretrained(folder / "compression")
    return folder


def printed(result: tuple[int, str, str]) -> str:
    code, out, err = result
    assert (code, err) == (0, ""), err
    return out


# run


def test_run_prints_text_tokens_and_seconds(call: Callable[..., Any]) -> None:
    out = printed(call("run", "long.wav", "short.flac", "--model", "./qwen2_audio", "--max-new-tokens", "3"))
    assert re.search(r"^long.wav +\(1\.0 s\)$", out, re.M)
    assert re.search(r"^short.flac +\(0\.5 s\)$", out, re.M)
    assert re.findall(r"tokens +(\d+) -> (\d+)", out) == [("24", "24"), ("12", "12")]
    assert len(re.findall(r"seconds +features [\d.]+, prefill [\d.]+, decode [\d.]+, total [\d.]+$", out, re.M)) == 2
    assert "truth" not in out


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize(
    ("options", "after"),
    [
        ((), [24, 12]),
        (("--compression", "top_k", "--retention-ratio", "0.25", "--positions", "original"), [6, 3]),
        (("--compression", '{"method": "ltbm", "window": 4}'), [12, 6]),
        (("--compression", "compression"), [3, 3]),
        (("--compression", "compression", "--retention-ratio", "0.5"), [12, 6]),
    ],
)
def test_run_compresses(call: Callable[..., Any], kind: str, options: tuple[str, ...], after: list[int]) -> None:
    given = ("long.wav", "short.flac", "--model", f"./{kind}", "--max-new-tokens", "2", "--json")
    report = json.loads(printed(call("run", *given, *options)))
    assert [r["tokens_before"] for r in report["results"]] == [24, 12]
    assert [r["tokens_after"] for r in report["results"]] == after
    assert report["compression"].get("positions", "contiguous") == (
        "original" if "original" in options else "contiguous"
    )
    for result in report["results"]:
        assert result["truth"] is None
        assert result["seconds"]["total"] == pytest.approx(
            sum(result["seconds"][phase] for phase in ("features", "prefill", "decode")), abs=2e-4
        )


def test_run_reads_what_transformers_generates(call: Callable[..., Any], folder: Path) -> None:
    report = json.loads(
        printed(call("run", "long.wav", "--model", "./audioflamingo3", "--prompt", "tell me", "--json"))
    )
    processor: Any = tiny.processor("audioflamingo3")
    model = transformers.AudioFlamingo3ForConditionalGeneration.from_pretrained(folder / "audioflamingo3").eval()
    audio, _ = soundfile.read(folder / "long.wav", dtype="float32")
    inputs = processor(text=["tell me<sound>"], audio=[audio])
    ids = model.generate(**inputs, max_new_tokens=128)[:, inputs["input_ids"].shape[1] :]
    assert report["results"][0]["text"] == processor.tokenizer.decode(ids[0], skip_special_tokens=True)
    assert report["results"][0]["text"]


def test_a_stored_compression_is_used_and_can_be_changed(call: Callable[..., Any]) -> None:
    given = ("run", "long.wav", "--model", "./stored", "--max-new-tokens", "2", "--json")
    for options, method, after in (
        ((), "stride", 5),
        (("--retention-ratio", "0.5"), "stride", 12),
        (("--compression", "none"), "none", 24),
    ):
        report = json.loads(printed(call(*given, *options)))
        assert report["compression"]["method"] == method
        assert report["results"][0]["tokens_after"] == after


def test_run_shows_the_truth_of_a_manifest(call: Callable[..., Any]) -> None:
    given = ("run", "--dataset", "manifest.jsonl", "--model", "./qwen2_audio", "--max-new-tokens", "2")
    out = printed(call(*given))
    assert re.findall(r"truth +(.+)", out) == ["Please, tell me!", "a"]
    results = json.loads(printed(call(*given, "--json")))["results"]
    assert [r["prompt"] for r in results] == ["Please describe the audio in detail.", "what"]


def test_what_is_cut_off_is_said(call: Callable[..., Any], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "longer.wav", tiny.sound(2.5), tiny.RATE)
    given = ("run", str(tmp_path / "longer.wav"), "--max-new-tokens", "2", "--model")
    code, _, err = call(*given, "./qwen2_audio")
    assert code == 0
    said = r"hf-tokcomp: warning: .*longer.wav has 2.5 s; the model reads the first 1 s only. With long_audio.*\n"
    assert re.fullmatch(said, err)
    assert "62 -> 62" in printed(call(*given, "./audioflamingo3"))


# Reader


def test_prompts(folder: Path) -> None:
    qwen, flamingo = Reader(str(folder / "qwen2_audio")), Reader(str(folder / "audioflamingo3"))
    assert flamingo.prompt("tell me") == "tell me<sound>"
    assert flamingo.prompt("<sound> what") == "<sound> what"
    text = qwen.prompt("tell me")  # its processor always has a chat template
    assert text.index("<|AUDIO|>") < text.index("tell me") < text.rindex("assistant")
    flamingo.processor.chat_template = (
        "{% for part in messages[0]['content'] %}{{ part.text if part.type == 'text' else '<sound>' }}{% endfor %}"
    )
    assert flamingo.prompt("tell me") == "tell me<sound>"
    flamingo.processor.chat_template = "nothing"
    with pytest.raises(ValueError, match="0 times <sound>"):
        flamingo.prompt("tell me")


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_batch_reads_as_its_recordings_alone(folder: Path, kind: str) -> None:
    reader = Reader(str(folder / kind))
    reader.load_model("cpu")
    config = hf_tokcomp.CompressionConfig(method="ltbm", retention_ratio=0.5)
    both = [
        Recording(str(seed), tiny.sound(seconds, seed), seconds, words)
        for seed, (seconds, words) in enumerate([(0.5, "what is this please"), (0.9, "tell me")])
    ]
    for compression in (None, config):
        together, seconds = reader.read(reader.prepare(both), compression, 4)
        alone = [reader.read(reader.prepare([one]), compression, 4)[0][0] for one in both]
        assert together == alone
        assert min(seconds.features, seconds.prefill, seconds.decode) > 0
    assert reader.model.audio_compressor.config.method == "none"  # as it was before


# compare


def test_compare_prints_texts_side_by_side(call: Callable[..., Any]) -> None:
    given = ("long.wav", "short.flac", "--model", "./qwen2_audio", "--max-new-tokens", "3")
    out = printed(
        call("compare", *given, "--compression", "ltbm", "--compression", "stride", "--retention-ratio", "1,1/4")
    )
    lines = [line.split() for line in out.splitlines() if line.startswith(("none", "ltbm", "stride"))]
    expected = [["none", "1", "-", "24"]] + [
        [method, "1/4", kind, "6"] for method in ("ltbm", "stride") for kind in ("contiguous", "original")
    ]
    assert [line[:4] for line in lines[:5]] == expected
    assert len(lines) == 10
    assert "error rate" not in out


def test_compare_takes_options_and_compositions(call: Callable[..., Any]) -> None:
    given = ("long.wav", "--model", "./qwen2_audio", "--max-new-tokens", "3", "--positions", "original", "--json")
    methods = "ltbm:window=3:similarity=keys", "average_pooling+ltbm:window=2", "segmentwise_top_k:segments=budget"
    named = [word for method in methods for word in ("--compression", method)]
    report = json.loads(printed(call("compare", *given, *named, "--retention-ratio", "1/4")))
    cells = {method: cell for (method, _, _), cell in compared.cells(report).items()}
    one = cells["ltbm:window=3:similarity=keys"]["configs"][0]
    assert (one["window"], one["similarity"], one["retention_ratio"]) == (3, "keys", 0.25)
    stages = cells["average_pooling+ltbm:window=2"]["configs"][0]["stages"]
    assert [(s["method"], s.get("retention_ratio"), s.get("tokens_per_second"), s.get("window")) for s in stages] == [
        ("average_pooling", 0.5, None, None),
        ("ltbm", 0.5, None, 2),
    ]
    assert cells["segmentwise_top_k:segments=budget"]["tokens_after"] == [[6]]
    assert cells["average_pooling+ltbm:window=2"]["tokens_after"] == [[6]]
    for wrong, message in (
        ("ltbm:window", "write an option as window=value"),
        ("ltbm:windo=3", "did you mean 'window'"),
        ("ltbm+", "Unknown compression method ''"),
    ):
        assert message in call("compare", *given, "--compression", wrong)[2]


def test_compare_scores_every_method(call: Callable[..., Any], tmp_path: Path) -> None:
    given = (
        "--dataset",
        "manifest.jsonl",
        "--model",
        "./audioflamingo3",
        "--max-new-tokens",
        "3",
        "--batch-size",
        "1",
    )
    file = tmp_path / "report.json"
    code, out, err = call("compare", *given, "--retention-ratio", "1,0.5,0.1", "--seeds", "2", "--output", str(file))
    assert code == 0, err
    *rest, said = err.splitlines()
    assert "the uncompressed model itself gets" in said
    missed = [line.split("'")[1] for line in rest]  # far below their budget on clips this short
    assert set(missed) <= {"segmentwise_top_k"}, err
    tables = [part.splitlines() for part in out.split("\n\n")]
    assert [table[0].split(" in %")[0].rstrip(",") for table in tables[:2]] == [
        "Word error rate",
        "Recordings read without an error",
    ]
    for table in tables[:3]:
        # The table is called as every other is; its folder says more.
        assert table[0].endswith(f": 2 recordings of {Path.cwd().name}, asked 2 prompts of their own")
    assert f"BEWARE. {said.removeprefix('hf-tokcomp: warning: ')}" in out
    assert tables[0][1].split() == ["method", "positions", "1", "1/2", "1/10"]
    assert all(line == line.rstrip() for line in out.splitlines())

    report = json.loads(file.read_text())
    cells = compared.cells(report)
    learned = {name for name, method in hf_tokcomp.methods().items() if method.learns}
    assert learned
    assert set(report["measured_by"]["left_out"]) == learned
    assert all("weights to learn" in reason for reason in report["measured_by"]["left_out"].values())
    methods = set(hf_tokcomp.methods()) - {"none", "compose"} - learned | {"ltbm+top_k"}
    assert set(cells) == {("none", 1.0, None)} | {
        (method, ratio, kind) for method in methods for ratio in (0.5, 0.1) for kind in ("contiguous", "original")
    }
    assert cells["none", 1.0, None]["tokens_before"] == [[24, 12]]
    assert cells["ltbm", 0.5, "original"]["tokens_after"] == [[12, 6]]
    assert cells["ltbm", 0.1, "original"]["kept"] == pytest.approx((2 / 24 + 1 / 12) / 2, abs=1e-4)
    draws = cells["random", 0.5, "contiguous"]
    assert [c["seed"] for c in draws["configs"]] == [0, 1]
    assert len(draws["text"]) == len(draws["wer_by_seed"]) == 2
    truths = [plain(r["truth"]) for r in report["recordings"]]
    for cell in cells.values():
        rates = [100 * jiwer.wer(truths, [plain(text) for text in row]) for row in cell["text"]]
        assert cell["wer"] == pytest.approx(sum(rates) / len(rates))
        right = [100 * np.mean([t == plain(text) for t, text in zip(truths, row, strict=True)]) for row in cell["text"]]
        assert cell["exact_match"] == pytest.approx(np.mean(right))
    line = next(line for line in tables[0] if re.match("ltbm +original", line))
    shown = [f"{cells['ltbm', ratio, 'original']['wer']:.1f}" for ratio in (0.5, 0.1)]
    assert line.split()[2:] == shown


@needs_small_model
def test_summaries_say_what_was_asked_about_what(call: Callable[..., Any]) -> None:
    assert "\n3 recordings, asked “Transcribe the digits.”\n" in printed(call("run"))
    out = printed(call("compare", "--compression", "stride", "--retention-ratio", "1/2", "--positions", "original"))
    named = "3 recordings that ship with hf_tokcomp, asked “Transcribe the digits.”"
    assert out.count(named) == 3
    assert "BEWARE" not in out, "the shipped model reads these"


def test_compare_is_the_same_whatever_the_batch(call: Callable[..., Any]) -> None:
    given = ("compare", "--dataset", "manifest.jsonl", "--model", "./qwen2_audio", "--max-new-tokens", "3", "--json")
    options = ("--compression", "top_k", "--retention-ratio", "0.5", "--positions", "original")
    one, two = (json.loads(call(*given, *options, "--batch-size", size)[1]) for size in "12")
    assert compared.texts(one) == compared.texts(two)
    assert one["sessions"][0]["transformers"] == transformers.__version__


def test_compare_does_not_swallow_errors(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(hf_tokcomp.LTBM, "assign_slots", broken)
    code, out, err = call(
        "compare", "long.wav", "--model", "./qwen2_audio", "--compression", "ltbm", "--retention-ratio", "0.5"
    )
    said = "No answer to asr, items 0 (long.wav), under ltbm@0.5/contiguous: RuntimeError: out of luck"
    assert (code, out, err) == (1, "", f"hf-tokcomp: error: {said}\n")


def test_recordings_without_a_truth_are_answered_and_not_scored(call: Callable[..., Any], tmp_path: Path) -> None:
    rows = [{"audio": "long.wav", "text": "a b c"}, {"audio": "short.flac"}, {"audio": "short.flac", "text": "d"}]
    file = jsonl(tmp_path / "some.jsonl", *({**row, "audio": str(Path(row["audio"]).absolute())} for row in rows))
    given = ("--dataset", str(file), "--model", "./qwen2_audio", "--max-new-tokens", "3")
    report = json.loads(call("compare", *given, "--compression", "stride", "--retention-ratio", "1/2", "--json")[1])
    assert {score["items"] for score in report["scores"]} == {2}
    for cell in compared.cells(report).values():
        said = [plain(cell["text"][0][place]) for place in (0, 2)]
        assert cell["wer"] == pytest.approx(100 * jiwer.wer(["a b c", "d"], said))
        assert len(cell["text"][0]) == 3


def test_methods_with_weights_are_left_out_unless_named() -> None:
    learned = [name for name, method in hf_tokcomp.methods().items() if method.learns]
    cells, left_out = plan([ALL], [0.5], ["original"], 1)
    assert list(left_out) == learned
    assert not {cell.method for cell in cells} & set(learned)
    cells, left_out = plan([*learned, "none"], [0.5, 1.0], ["original"], 1)
    assert left_out == {}
    assert [(cell.method, cell.ratio) for cell in cells] == [("none", 1.0), *((name, 0.5) for name in learned)]


# demo and tables


@needs_small_model
def test_demo(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for path, truth in recordings():
        _, _, part = out.partition(path.name)
        lines = part.splitlines()[1:5]
        assert lines[0].split()[1:] == truth.split()
        assert [line.split("  ")[1] for line in lines[1:]] == ["all", "half", "a quarter"]
        counts = [re.findall(r"(\d+) -> (\d+)(?:, asked for \d+)? +[\d.]+ s  \S", line)[0] for line in lines[1:]]
        full = int(counts[0][0])
        assert [int(after) for _, after in counts] == [full, int(full / 2 + 0.5), int(full / 4 + 0.5)]
        assert lines[1].endswith(f"s  {truth}"), "with all tokens it reads the shipped recordings"


@needs_small_model
def test_run_without_arguments_reads_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [r["text"] for r in results] == [r["truth"] for r in results] == [truth for _, truth in recordings()]
    assert {r["prompt"] for r in results} == {"Transcribe the digits."}


def test_methods_explains_the_options_of_one() -> None:
    for name, method in hf_tokcomp.methods().items():
        result = CliRunner().invoke(app, ["methods", name])
        assert result.stdout.startswith(f"{name}: {method.idea}\n\nfamily: {method.family}\n")
        lines = {line.split()[0]: line for line in result.stdout.split("\noption ")[1].splitlines()[1:]}
        fields = {field.name for field in dataclasses.fields(method.config_class)}
        refused = {"method", "schema_version", "hf_tokcomp_version"}
        refused |= (
            set() if method.config_class.accepts_budget else {"retention_ratio", "tokens_per_second", "max_tokens"}
        )
        refused |= set() if method.config_class.accepts_chunks else {"chunk_seconds", "allocation"}
        assert set(lines) == fields - refused
        for option, line in lines.items():
            assert line.endswith(metadata_of(method.config_class, option)["help"])
    out = CliRunner().invoke(app, ["methods", "ltbm"]).stdout
    assert re.search(r"^window +8 +an integer of at least 1 +farthest two tokens", out, re.MULTILINE)
    assert re.search(r"^similarity +features +one of \('features', 'keys', 'projected'\) +what is", out, re.MULTILINE)
    assert re.search(
        r"^max_tokens +None +an integer of at least 1 or none +maximum number of tokens", out, re.MULTILINE
    )
    (listed,) = json.loads(CliRunner().invoke(app, ["methods", "ltbm", "--json"]).stdout)
    assert listed["help"]["window"] == metadata_of(hf_tokcomp.LTBMConfig, "window")["help"]


def test_methods_lists_the_registry() -> None:
    result = CliRunner().invoke(app, ["methods", "--json"])
    listed = {row["method"]: row for row in json.loads(result.stdout)}
    assert set(listed) == set(hf_tokcomp.methods())
    assert listed["ltbm"]["options"] == {"window": 8, "similarity": "features"}
    assert listed["ltbm"]["family"] == "merging"
    assert listed["top_k"]["source"] == "arXiv 2511.14293, section 3.2"
    assert listed["top_k"]["needs"] == ["attention"]
    assert listed["none"]["budget"] is False
    table = CliRunner().invoke(app, ["methods"]).stdout.splitlines()
    assert table[0].split() == ["method", "family", "count", "needs", "options", "idea"]
    for line, (name, row) in zip(table[1:], listed.items(), strict=False):
        assert line.startswith(name)
        assert line.endswith(row["idea"]), "nothing is cut or folded where there is no terminal"
    counts = {name: row["count"] for name, row in listed.items()}
    assert (counts["ltbm"], counts["a_tome"], counts["segmentation"]) == (
        "length",
        "length or content",
        "content or length",
    )
    families = [row["family"] for row in listed.values()]
    assert families[0] == "-"
    assert len(set(families)) == 1 + sum(a != b for a, b in itertools.pairwise(families)), "families stand together"


def test_models_lists_the_patches() -> None:
    listed = {row["model_type"]: row for row in json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)}
    assert set(listed) == set(hf_tokcomp.supported_models())
    assert listed["qwen2_audio"]["classes"] == ["Qwen2AudioForConditionalGeneration"]
    assert "AutoModelForSeq2SeqLM" in listed["audioflamingo3"]["auto_classes"]
    table = CliRunner().invoke(app, ["models"]).stdout
    assert re.search("AudioFlamingo3Processor +AutoModelForPreTraining, ", table)
    assert "5.17.0 to 5.24.0" in table
    assert f"The installed transformers {transformers.__version__} is accepted." in table
    assert all(row["accepted"] and row["problem"] is None and row["out_of_bounds"] == [] for row in listed.values())


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("OLDEST_TRIED", "99.0.0", "is older than 99.0.0"),
        ("NEWEST_TRIED", "5.0.0", "changed Qwen2AudioForConditionalGeneration.forward: no_such_parameter gone"),
    ],
)
def test_models_says_what_is_not_accepted(
    monkeypatch: pytest.MonkeyPatch, attribute: str, value: str, words: str
) -> None:
    patch = hf_tokcomp.supported_models()["qwen2_audio"]
    wanted = patch.relies_on | {"forward": ("no_such_parameter",)}
    monkeypatch.setattr(type(patch), "relies_on", wanted)
    monkeypatch.setattr(versions, attribute, value)
    listed = {row["model_type"]: row for row in json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)}
    assert not listed["qwen2_audio"]["accepted"]
    assert words in listed["qwen2_audio"]["problem"]
    table = CliRunner().invoke(app, ["models"]).stdout
    assert words in table
    assert f"{transformers.__version__} is not accepted for qwen2_audio" in table


def test_models_names_packages_past_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    required = ["torch>=99", "no-such-package>=1", "packaging>=24", 'peft>=99; extra == "dev"']
    monkeypatch.setattr(versions.metadata, "requires", lambda _: required)
    told = CliRunner().invoke(app, ["models"]).stdout
    assert "torch" in told
    assert "no-such-package is not installed (>=1 is required)" in told
    assert "packaging" not in told
    assert "peft" not in told


# errors


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "gone.wav", "--model", "./qwen2_audio"], 1, "There is no audio file gone.wav."),
        (["run", "notes.wav", "--model", "./qwen2_audio"], 1, "notes.wav is not audio"),
        (["run", "blip.wav", "--model", "./qwen2_audio"], 1, "blip.wav is too short"),
        (["run", "long.wav", "--model", "./nowhere"], 1, "There is no model folder nowhere."),
        (["run", "long.wav", "--model", "./compression"], 1, "model_type"),
        (["run", "long.wav", "--model", "no folder"], 1, "no folder is neither a folder here nor a model"),
        (["run", "--compression", "ltmb"], 1, "did you mean 'ltbm'?"),
        (["run", "--compression", '{"method": "ltbm", "windo": 4}'], 1, "did you mean 'window'?"),
        (["run", "--compression", "{method: ltbm}"], 1, "The compression is not valid JSON"),
        (["run", "--compression", "./gone/here"], 1, "no folder or file './gone/here'"),
        (["run", "--compression", "ltbm", "--retention-ratio", "2", "--model", "./qwen2_audio"], 1, "at most 1"),
        (["run", "--retention-ratio", "0.5", "--model", "./qwen2_audio"], 1, "--retention-ratio: of which method?"),
        (["run", "--dataset", "gone.jsonl"], 1, "There is no file or folder gone.jsonl."),
        (["run", "--dataset", "notes.wav"], 1, "notes.wav is not a table of examples; it should end in .jsonl, "),
        (["run", "long.wav", "--model", "./qwen2_audio", "--device", "abacus"], 1, "abacus"),
        (["run", "--dtype", "int4"], 2, "'float16'. See `hf-tokcomp run --help`."),
        (["run", "--max-new-tokens", "0"], 2, "greater than or equal to 1"),
        (["compare", "--compression", "ltmb"], 1, "did you mean 'ltbm'?"),
        (["compare", "--retention-ratio", "2"], 1, "at most 1"),
        (["compare", "--retention-ratio", "half"], 1, "--retention-ratio: 'half' is not a number."),
        (["compare", "--positions", "here"], 1, "not one of contiguous, original"),
        (["compare", "--methods", ","], 1, "--methods is empty."),
        (["compare", "--output", "gone/report.json"], 1, "There is no folder"),
        (["demo", "--compression", "ltmb"], 1, "did you mean 'ltbm'?"),
        (["run", "--jump"], 2, "No such option: --jump. See `hf-tokcomp run --help`."),
        (["methods", "ltmb"], 1, "did you mean 'ltbm'?"),
        (["jump"], 2, "No such command 'jump'."),
    ],
)
def test_errors_are_one_line(call: Callable[..., Any], arguments: list[str], code: int, words: str) -> None:
    found, out, err = call(*arguments)
    assert (found, out) == (code, "")
    assert err.startswith("hf-tokcomp: error: ")
    assert err.count("\n") == 1
    assert words in err


def test_a_bug_is_one_line_too_and_debugging_shows_it(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any) -> None:
        raise KeyError("slot")

    monkeypatch.setattr(Reader, "prepare", bug)
    code, _, err = call("run", "long.wav", "--model", "./qwen2_audio")
    assert (code, err) == (1, "hf-tokcomp: error: KeyError: 'slot' (HF_TOKCOMP_DEBUG=1 shows where)\n")
    monkeypatch.setenv("HF_TOKCOMP_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["run", "long.wav", "--model", "./qwen2_audio"])


def test_our_warnings_are_shown_and_others_are_not(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    own = Reader.prepare

    def noisy(*arguments: Any) -> Any:
        warnings.warn("of no interest", stacklevel=1)
        warnings.warn("hf_tokcomp has something\nto say", stacklevel=1)
        return own(*arguments)

    monkeypatch.setattr(Reader, "prepare", noisy)
    code, _, err = call("run", "long.wav", "--model", "./qwen2_audio", "--max-new-tokens", "2")
    assert (code, err) == (0, "hf-tokcomp: warning: hf_tokcomp has something to say\n")


# as a process


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv[0] = 'hf-tokcomp'; from hf_tokcomp.cli import main; sys.exit(main())"
    return warm.run(code, *arguments, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_help_as_a_process() -> None:
    help_ = command("--help")
    assert (help_.returncode, help_.stderr) == (0, "")
    for name in ("run", "compare", "demo", "methods", "models"):
        assert re.search(rf"^  {name} +\w.*\.$", help_.stdout, re.M)


def test_a_real_run_is_quiet_and_a_failing_one_fails(folder: Path) -> None:
    run = command("run", str(folder / "long.wav"), "--model", str(folder / "qwen2_audio"), "--max-new-tokens", "2")
    assert (run.returncode, run.stderr) == (0, "")
    assert "24 -> 24" in run.stdout
    failed = command("run", str(folder / "gone.wav"), "--model", str(folder / "qwen2_audio"))
    assert (failed.returncode, failed.stdout) == (1, "")
    assert re.fullmatch(r"hf-tokcomp: error: There is no audio file .*gone\.wav\.\n", failed.stderr)


def test_without_arguments_it_helps(call: Callable[..., Any]) -> None:
    code, out, err = call()
    assert (code, err) == (2, "")
    assert out.startswith("Usage: hf-tokcomp")
    assert printed(call("--version")) == f"hf-tokcomp {hf_tokcomp.__version__}\n"
    text = printed(call("run", "--help"))
    assert "--retention-ratio" in text
    assert "Fraction of the audio tokens" in text
