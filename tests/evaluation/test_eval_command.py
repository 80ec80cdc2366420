"""`hf-tokcomp eval` as people run it: every benchmark in every layout, resumed, shared among processes, wrong."""

from __future__ import annotations

import csv
import os
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import tiny
from benchmark_layouts import LAYOUTS, clothoaqa
from hf_tokcomp.patches.qwen2_audio import Qwen2AudioPatch
from result_folders import results_in
from safetensors.torch import load_file, save_file
from training_files import jsonl
from training_tools import template

from hf_tokcomp import CompressionConfig
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.cli import main
from hf_tokcomp.cli.evaluate import with_spellings
from hf_tokcomp.evaluation import sweep
from hf_tokcomp.evaluation.journal import Journal
from hf_tokcomp.evaluation.metrics import load_metric
from hf_tokcomp.evaluation.tasks import get_task
from hf_tokcomp.inference.reader import Reader

pytestmark = pytest.mark.usefixtures("one_thread")
NORMAL = ("--retention-ratio", "1/2", "--seeds", "1", "--items", "2", "--resamples", "100")


def run(*arguments: Any) -> int:
    return main(["eval", *map(str, arguments)])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_goes_through(layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, make = LAYOUTS[layout]
    (tmp_path / "data").mkdir()
    where = make(tmp_path / "data")
    out = tmp_path / "out"
    assert run(name, "--dataset", where, "--compression", "stride", *NORMAL, "--output", out) == 0, capsys.readouterr()
    printed = capsys.readouterr().out
    found = results_in(out)
    task = get_task(name)
    assert {each["metric"] for each in found["scores"]} == set(task.metrics)
    assert {each["method"] for each in found["scores"]} == {"none", "stride"}
    assert {each["subset"] for each in found["scores"]} <= {*task.subsets, "", "sound", "music", "speech"}
    for each in found["scores"]:
        assert each["value"] is not None
        assert each["kept"] == (1 if each["method"] == "none" else pytest.approx(0.5, abs=0.1))
    assert f"**{task.title}" in printed
    assert "| `stride` |" in printed
    assert (out / "results.md").read_text(encoding="utf-8").strip() in printed
    lines = list(csv.DictReader((out / "results.csv").open(encoding="utf-8")))
    assert [float(line["value"]) for line in lines] == [each["value"] for each in found["scores"]]
    assert (out / "quality.png").stat().st_size > 10_000
    assert str(tmp_path) not in (out / "results.json").read_text(encoding="utf-8"), "a path of this machine"


def test_the_numbers_are_those_of_the_answers(strings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert (
        run(
            "librispeech",
            "--dataset",
            strings,
            "--prompt",
            "Transcribe the digits.",
            "--compression",
            "ltbm",
            "--retention-ratio",
            "1,1/2,1/4",
            "--positions",
            "original",
            "--output",
            out,
        )
        == 0
    )
    found = results_in(out)
    scores = {each["ratio"]: each for each in found["scores"]}
    assert scores[1.0]["value"] == 0, "the small model reads these without an error"
    assert scores[0.25]["value"] > 0
    assert scores[0.25]["difference"] == scores[0.25]["value"]
    answers = Journal(out).read()
    assert {given.text for given in answers.values() if given.run == "none@1"} == {text for _, text in recordings()}
    for given in answers.values():
        ratio = {"none@1": 1, "ltbm@0.5/original": 0.5, "ltbm@0.25/original": 0.25}[given.run]
        assert given.tokens_after == int(given.tokens_before * ratio + 0.5)
    assert found["runs"]["ltbm@0.25/original"]["config"]["positions"] == "original"
    assert found["model"] == SMALL_MODEL.name
    assert found["tasks"]["librispeech"]["prompt"] == "Transcribe the digits."
    assert "EnglishTextNormalizer" in found["measured_by"]["metrics"]["librispeech"]["wer"]["normaliser"]
    assert found["sessions"][0]["torch"] == metadata.version("torch")  # as pip has it, with the build or without


def test_a_second_start_does_nothing_twice_and_takes_more(
    strings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    base = ("librispeech", "--dataset", strings, "--retention-ratio", "1/2", "--output", out, "--compression", "stride")
    assert run(*base) == 0
    first, lines = results_in(out), (out / "answers-0.jsonl").read_bytes()
    assert run(*base) == 0
    assert (out / "answers-0.jsonl").read_bytes() == lines
    assert results_in(out)["scores"] == first["scores"]
    assert len(results_in(out)["sessions"]) == 2
    assert run(*base, "--compression", "average_pooling") == 0
    assert (out / "answers-0.jsonl").read_bytes().startswith(lines)
    assert [each for each in results_in(out)["scores"] if each["method"] != "average_pooling"] == first["scores"]
    whole = results_in(out)["scores"]
    assert run(*base[:-1], "average_pooling") == 0
    assert sorted(map(str, results_in(out)["scores"])) == sorted(map(str, whole)), "what was measured before stays"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (("--prompt", "Transcribe the speech."), "librispeech: prompt"),
        (("--max-new-tokens", "3"), "librispeech: max_new_tokens"),
        (("--items", "1"), "librispeech: items"),
        (("--dtype", "bfloat16"), "dtype"),
    ],
)
def test_a_folder_holds_one_kind_of_answers(
    strings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: tuple[str, ...], named: str
) -> None:
    out = tmp_path / "out"
    base = ("librispeech", "--dataset", strings, "--output", out)
    assert run(*base) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert run(*base, *changed) == 1
    said = capsys.readouterr().err
    assert f"{named} was" in said
    assert "--output" in said
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_of_somebody_is_left_alone(strings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    assert run("librispeech", "--dataset", strings, "--output", tmp_path) == 1
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_failure_is_a_failure(
    strings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hf_tokcomp.compressors.stride import Stride

    def broken(*_: Any) -> None:
        raise IndexError("broken method")

    out = tmp_path / "out"
    options = ("librispeech", "--dataset", strings, "--compression", "stride", "--retention-ratio", "1/2")
    with monkeypatch.context() as patched:
        patched.setattr(Stride, "assign_slots", broken)
        assert run(*options, "--output", out) == 1
    said = capsys.readouterr().err
    assert "broken method" in said
    assert "stride@0.5" in said
    assert "IndexError" in said
    assert not (out / "results.json").exists()
    assert {given.run for given in Journal(out).read().values()} == {"none@1"}
    assert run(*options, "--output", out) == 0


def test_choices_by_likelihood_and_by_similarity(tmp_path: Path) -> None:
    _, make = LAYOUTS["MMAU, its own JSON"]
    where = make(tmp_path)
    options = ("mmau", "--dataset", where, "--compression", "stride", *NORMAL)
    assert run(*options, "--choice-scoring", "likelihood", "--output", tmp_path / "likelihood") == 0
    for given in Journal(tmp_path / "likelihood").read().values():
        assert len(given.scores) in (2, 4)
        assert given.text == ["a dog", "a cat", "rain", "a car"][given.scores.index(max(given.scores))]
        assert max(given.scores) < 0
    assert results_in(tmp_path / "likelihood")["measured_by"]["choice_scoring"] == "likelihood"
    pytest.importorskip("sentence_transformers")
    assert run(*options, "--choice-scoring", "similarity", "--output", tmp_path / "similarity") == 0
    assert 0 <= results_in(tmp_path / "similarity")["scores"][0]["value"] <= 100


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mmua",), "did you mean 'mmau'"),
        (("clotho",), "--dataset clotho=FOLDER"),
        (("librispeech", "--columns", "audio"), "'audio' is not ROLE:NAME"),
        (("librispeech", "--compression", "strid"), "stride"),
        (("librispeech", "--retention-ratio", "half"), "'half' is not a number"),
        (("librispeech", "--positions", "middle"), "'middle' is not one of"),
        (("librispeech", "--retention-ratio", "1/2"), "of which method"),
        (("clothoaqa", "--spellings", "list.json"), "clothoaqa is not scored by the normalised word error rate"),
    ],
)
def test_mistakes_are_said_before_a_model_is_loaded(
    strings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setattr(Reader, "load_model", lambda *_: pytest.fail("the model was loaded"))
    data = () if arguments[0] == "clotho" else ("--dataset", strings)
    assert run(*arguments, *data, "--output", tmp_path / "out") == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_shipped_models_own_tasks(tmp_path: Path) -> None:
    if not os.environ.get("HF_TOKCOMP_DATA"):
        pytest.skip("HF_TOKCOMP_DATA does not name a folder with digits/ and sounds/")
    out = tmp_path / "out"
    tasks = ("digits", "sound_captions", "sound_choices")
    assert run(*tasks, "--items", "20", "--batch-size", "20", "--resamples", "100", "--output", out) == 0
    values = {(each["task"], each["metric"]): each["value"] for each in results_in(out)["scores"]}
    assert {task for task, _ in values} == set(tasks)
    assert values["digits", "wer_plain"] < 20
    assert values["sound_captions", "exact_match"] >= 60
    assert values["sound_captions", "rouge_l"] >= 0.75
    assert values["sound_choices", "accuracy"] >= 75


def test_a_changed_config_or_changed_weights_are_something_else(
    strings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config"
    CompressionConfig(method="ltbm", window=4).save_pretrained(config)
    model = tmp_path / "model"
    shutil.copytree(SMALL_MODEL, model)
    out = tmp_path / "out"
    given = ("librispeech", "--dataset", strings, "--compression", config, "--model", model, "--output", out)
    assert run(*given) == 0
    CompressionConfig(method="ltbm", window=5).save_pretrained(config)
    assert run(*given) == 1
    assert "holds answers to something else" in capsys.readouterr().err
    CompressionConfig(method="ltbm", window=4).save_pretrained(config)
    assert run(*given) == 0
    weights = load_file(model / "model.safetensors")
    weights[next(iter(weights))] += 0.01
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    assert run(*given) == 1
    assert "weights was" in capsys.readouterr().err


def test_a_method_that_has_learned_nothing_is_refused(
    strings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("librispeech", "--dataset", strings, "--compression", "conv_resampler", "--output", tmp_path / "out")
    assert run(*given) == 1
    assert "fine-tune it first" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_audio_flamingo_3_and_prompts_of_its_own(tmp_path: Path) -> None:
    tiny.model("audioflamingo3").save_pretrained(tmp_path / "model")
    processor = tiny.processor("audioflamingo3")
    processor.chat_template = template("audioflamingo3")
    processor.save_pretrained(tmp_path / "model")
    (tmp_path / "data").mkdir()
    out = tmp_path / "out"
    given = ("--dataset", clothoaqa(tmp_path / "data"), "--model", tmp_path / "model", "--compression", "top_k")
    assert run("clothoaqa", *given, *NORMAL, "--max-new-tokens", "3", "--output", out) == 0
    found = results_in(out)
    assert found["tasks"]["clothoaqa"]["prompt"] == get_task("clothoaqa").prompts[""]
    assert {each["subset"] for each in found["scores"]} == {"unanimous", "non-binary"}
    assert all(0.4 < each["kept"] < 0.6 for each in found["scores"] if each["method"] == "top_k")


def test_the_encoder_runs_once_for_all_runs(strings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    own = Qwen2AudioPatch.encode

    def counted(*arguments: Any, **options: Any) -> Any:
        encoded.append(1)
        return own(*arguments, **options)

    monkeypatch.setattr(Qwen2AudioPatch, "encode", counted)
    methods = ("--compression", "top_k", "--compression", "visionzip", "--compression", "ltbm")
    given = ("--dataset", strings, "--retention-ratio", "1/2,1/4", "--batch-size", "2")
    assert run("librispeech", *given, *methods, "--output", tmp_path / "out") == 0
    assert len(encoded) == 2, "three recordings are two batches"


def test_a_start_that_was_killed_at_once(strings: Path, tmp_path: Path) -> None:
    (tmp_path / ".sweep.json.part").write_text('{"model"')
    assert run("librispeech", "--dataset", strings, "--items", "1", "--output", tmp_path) == 0


def test_bad_rows_stop_or_are_skipped_and_counted(
    strings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = jsonl(tmp_path / "test.jsonl", {"audio": "gone.wav", "text": "one"})
    table.write_text(table.read_text() + strings.read_text())
    given = ("librispeech", "--dataset", table, "--items", "2", "--resamples", "100", "--output", tmp_path / "out")
    for stop in ((), ("--on-error", "stop")):
        assert run(*given, *stop) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert "leave them out with --on-error skip" in err
    assert run(*given, "--on-error", "skip") == 0
    out, err = capsys.readouterr()
    assert "1 rows left out" in out
    assert "gone.wav" in err


def test_answers_that_were_cut_off_are_counted(strings: Path, tmp_path: Path) -> None:
    given = ("--dataset", strings, "--prompt", "Transcribe the digits.")
    assert run("librispeech", *given, "--max-new-tokens", "2", "--output", tmp_path / "short") == 0
    assert results_in(tmp_path / "short")["scores"][0]["unfinished"] == 1
    assert "cut off at the greatest length" in (tmp_path / "short" / "results.md").read_text()
    assert run("librispeech", *given, "--output", tmp_path / "long") == 0
    assert results_in(tmp_path / "long")["scores"][0]["unfinished"] == 0


def test_a_torn_batch_is_read_again_as_a_whole(strings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("librispeech", "--dataset", strings, "--batch-size", "3", "--output", tmp_path / "out")
    assert run(*given) == 0
    file = tmp_path / "out" / "answers-0.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0])
    sizes: list[int] = []
    own = sweep._by_generation
    monkeypatch.setattr(sweep, "_by_generation", lambda *given: sizes.append(len(given[3])) or own(*given))
    assert run(*given) == 0
    assert sizes == [3]
    assert sorted(file.read_bytes().splitlines(keepends=True)) == sorted(lines)


def test_british_spellings_are_no_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The list is the one that a Whisper checkpoint brings; without it a spelling is a wrong word."""
    (tmp_path / "whisper").mkdir()
    (tmp_path / "whisper" / "normalizer.json").write_text('{"colour": "color", "grey": "gray"}')
    path, _ = recordings()[0]
    data = jsonl(tmp_path / "test.jsonl", {"audio": str(path), "text": "grey"})
    out = tmp_path / "out"
    given = ("librispeech", "--dataset", data, "--output", out)
    assert run(*given, "--spellings", tmp_path / "nowhere") == 1
    assert "nowhere" in capsys.readouterr().err
    for where in (tmp_path / "whisper", tmp_path / "whisper" / "normalizer.json"):
        assert run(*given, "--spellings", where) == 0
        assert results_in(out)["measured_by"]["metrics"]["librispeech"]["wer"]["spellings"] == "a list of 2"
    normalise = load_metric("wer", spellings=tmp_path / "whisper").normalise
    assert normalise("Grey") == normalise("gray")
    assert load_metric("wer").normalise("Grey") != load_metric("wer").normalise("gray")


def test_spellings_are_for_the_tasks_that_have_them() -> None:
    first, second = with_spellings([get_task("librispeech"), get_task("clotho")], "list.json")
    assert first.metric_options["wer"] == {"spellings": "list.json"}
    assert second is get_task("clotho")
