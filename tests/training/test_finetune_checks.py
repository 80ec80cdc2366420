"""`hf-tokcomp finetune` before and around the training: arguments as YAML, what is refused, resuming, a failed push."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import soundfile
import transformers
import typer
from places import ROOT
from test_finetune import adapter, command, pytestmark

import hf_tokcomp
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.cli import main
from hf_tokcomp.cli.finetune import parse
from hf_tokcomp.training import make_trainer
from hf_tokcomp.training.arguments import FinetuneArguments

__all__ = ["pytestmark"]
DOCS = ROOT / "docs" / "training.md"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The shipped recordings, twice, without prompts."""
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    given = [{"audio": str(path), "text": truth} for path, truth in recordings()]
    file.write_text("".join(json.dumps(row) + "\n" for row in given * 2), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def finished(rows, tmp_path_factory):
    """A run of two steps with a checkpoint after the second."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert main(command(rows, folder, steps=2)) == 0
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it to go on from."""
    return shutil.copytree(finished, tmp_path / "run")


def parsed(tmp_path, *lines):
    file = tmp_path / "run.yaml"
    file.write_text("\n".join([f"dataset: rows.jsonl\noutput_dir: {tmp_path / 'run'}\nuse_cpu: true", *lines]))
    options, args = parse([str(file)])
    return vars(options) | vars(args)


def test_yaml_values_are_read_as_flags_are(tmp_path):
    found = parsed(
        tmp_path,
        "ratios: [1e-1, 0.5, 1/3]",  # YAML takes 1e-1 for a string
        "retention_ratio: 1/4",
        "adapt: projector",
        "learning_rate: 2e-4",
        "max_train_samples: '7'",
        "resume_from_checkpoint: true",
        "skip_bad: true",
        "eval_split: null",
        "report_to: [tensorboard]",
        "lr_scheduler_kwargs: {num_cycles: 2}",
        "compression: {method: stride, retention_ratio: 0.5}",
    )
    assert found["ratios"] == [0.1, 0.5, 1 / 3]
    assert found["retention_ratio"] == 0.25
    assert found["adapt"] == ["projector"]
    assert (found["learning_rate"], found["max_train_samples"]) == (2e-4, 7)
    assert found["resume_from_checkpoint"] == "true"
    assert found["skip_bad"] is True
    assert found["on_error"] == "stop"
    assert found["eval_split"] is None
    assert found["report_to"] == ["tensorboard"]
    assert found["lr_scheduler_kwargs"] == {"num_cycles": 2}
    assert json.loads(found["compression"]) == {"method": "stride", "retention_ratio": 0.5}


@pytest.mark.parametrize(
    ("line", "skips"), [("on_error: skip", True), ("on_error: stop", False), ("skip_bad: true", True), ("", False)]
)
def test_bad_rows_are_skipped_by_the_flag_of_all_commands(tmp_path, line, skips):
    file = tmp_path / "run.yaml"
    file.write_text(f"dataset: rows.jsonl\noutput_dir: {tmp_path / 'run'}\nuse_cpu: true\n{line}\n")
    options, _ = parse([str(file)])
    assert options.skips is skips


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("task: sing", "translation"),
        ("lora_r: 16.5", "lora-r"),
        ("save_strategy: no", "save-strategy"),  # False, to YAML
        ("long_audio: chop", "cut"),
        ("ratios: []", "ratios"),
        ("retention_ratio: 1/0", "retention-ratio"),
        ("retention_ratio: a third", "retention-ratio"),
    ],
)
def test_a_yaml_value_that_cannot_be_is_refused_with_the_file(tmp_path, line, said):
    with pytest.raises(ValueError, match=rf"run\.yaml: .*{said}"):
        parsed(tmp_path, line)


def test_the_yaml_file_of_the_docs_parses(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(re.search(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1], encoding="utf-8")
    options, args = parse([str(file), "--use-cpu"])
    assert options.adapt == ["language_model", "projector"]
    assert (args.output_dir, args.learning_rate, args.eval_strategy) == ("my_adapter", 2e-4, "steps")


def test_no_file_of_arguments_is_read_unasked(tmp_path, monkeypatch):
    """transformers' parser would read PROGRAM.args."""
    (tmp_path / "program.args").write_text("--lora_r 3")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "program")])
    options, _ = parse(["--dataset", "rows.jsonl", "--output-dir", str(tmp_path / "run"), "--use-cpu"])
    assert options.lora_r == 16


def test_a_yaml_file_behind_a_flag(tmp_path):
    with pytest.raises(typer.BadParameter, match="comes before all flags"):
        parse(["--on-error", "skip", "--output-dir", str(tmp_path / "run"), "--lora-r", "3", "run.yaml", "--use-cpu"])


def test_a_home_folder_in_a_yaml_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert FinetuneArguments(model="~/model").model_name == str(tmp_path / "model")
    assert FinetuneArguments(model="user/model").model_name == "user/model"


def refused(capsys, arguments, *said):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    for words in said:
        assert words in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--eval-strategy", "steps"], "--eval-dataset"),
        (["--evaluate-uncompressed", "true"], "--eval-dataset"),
        (["--eval-split", "test"], "rows are trained on"),
        (["--metric-for-best-model", "wer"], "--greater-is-better false"),
        (["--task", "question_answering"], "--columns question:NAME"),
        (["--push", "--hub-model-id", "someone/adapter"], "--base-model"),
        (["--push", "--hub-model-id", "a/b/c", "--base-model", "someone/base"], "USER/NAME"),
    ],
)
def test_what_could_not_end_well_is_not_begun(rows, tmp_path, capsys, flags, said):
    refused(capsys, command(rows, tmp_path / "run", *flags), said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--use-liger-kernel"], "no Liger kernels"),
        (["--train-sampling-strategy", "group_by_length", "--no-check"], "leave out --no-check"),
        (["--ratios", "3/2"], "at most 1"),
        (["--compression", '{"method": "ltbm", "tokens_per_second": 5}', "--curriculum", "0.5"], "retention_ratio"),
        (["--lora-dropout", "1"], "--lora-dropout"),
        (["--metric-for-best-model", "bleu", "--eval-strategy", "steps", "--eval-dataset"], "wer, exact_match"),
    ],
)
def test_what_could_not_end_well_is_refused_before_the_model_is_read(rows, tmp_path, capsys, flags, said):
    model = shutil.copytree(SMALL_MODEL, tmp_path / "model")
    for file in model.glob("*.safetensors"):
        file.unlink()
    flags = [*flags, str(rows)] if flags[-1] == "--eval-dataset" else flags
    given = command(rows, tmp_path / "run", *flags, "--model", str(model))
    if "--compression" in flags:
        for flag in ("--retention-ratio", "--positions"):
            del given[given.index(flag) : given.index(flag) + 2]
    refused(capsys, given, said)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_without_its_optimizer_is_not_resumed(rows, run, capsys):
    """It would begin anew on half-trained weights, and say nothing."""
    (run / "checkpoint-2" / "optimizer.pt").unlink()
    refused(capsys, command(rows, run, "--resume-from-checkpoint", "last", steps=3), "--save-only-model")


def test_a_row_without_a_question_is_bad(rows, tmp_path, capsys):
    file = tmp_path / "questions.jsonl"
    first, second, *_ = (json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines())
    file.write_text(json.dumps(first | {"question": "What is said?"}) + "\n" + json.dumps(second) + "\n")
    refused(capsys, command(file, tmp_path / "run", "--task", "question_answering"), "line 2: there is no prompt")
    assert main(command(file, tmp_path / "run", "--task", "question_answering", "--prompt", "What?", steps=1)) == 0


def test_a_recording_that_is_too_long_stops_or_is_cut(rows, tmp_path, capsys):
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).normal(0, 0.1, 11 * 16_000), 16_000)
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps({"audio": "long.wav", "text": "one"}) + "\n" + rows.read_text(encoding="utf-8"))
    refused(capsys, command(file, tmp_path / "run"), "line 1: ", "11 s long, more than the model's limit of 10 s")
    assert main(command(file, tmp_path / "run", "--long-audio", "cut", steps=1)) == 0


def test_an_output_folder_that_is_a_file(rows, tmp_path, capsys):
    (tmp_path / "run").write_text("notes")
    refused(capsys, command(rows, tmp_path / "run"), "is a file")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--lora-alpha", "64"], "--lora-alpha"),
        (["--lora-r", "8"], "--lora-r"),
        (["--adapt", "projector"], "--adapt"),
        (["--retention-ratio", "0.5"], "average_pooling"),
    ],
)
def test_a_run_is_not_resumed_as_another(rows, run, capsys, flags, said):
    before = adapter(run)
    refused(capsys, command(rows, run, "--resume-from-checkpoint", "last", *flags, steps=3), "checkpoint-2", said)
    assert all((value == before[name]).all() for name, value in adapter(run).items())


def test_a_checkpoint_that_was_not_saved_to_its_end_is_left_out(rows, run, capsys):
    shutil.copytree(run / "checkpoint-2", run / "checkpoint-10")
    (run / "checkpoint-10" / "trainer_state.json").unlink()
    given = command(rows, run, "--resume-from-checkpoint", "last", steps=3)
    assert main(given) == 0
    assert "checkpoint-10 is ignored" in capsys.readouterr().err
    losses = [row["loss"] for row in json.loads((run / "finetune.json").read_text())["log"] if "loss" in row]
    assert len(losses) == 3
    given = command(rows, run, "--resume-from-checkpoint", str(run / "checkpoint-10"), steps=4)
    refused(capsys, given, "no checkpoint to resume from", "--output-dir")


def test_a_first_checkpoint_that_was_not_saved_to_its_end_is_no_earlier_run(rows, tmp_path):
    half = tmp_path / "run" / "checkpoint-2"
    half.mkdir(parents=True)
    (half / "adapter_config.json").write_text("{}")
    assert main(command(rows, tmp_path / "run", steps=2)) == 0
    assert (half / "trainer_state.json").is_file()


def test_numbers_of_the_run_before_do_not_stay(rows, run, capsys):
    (run / "metrics.json").write_text(json.dumps({"dataset": "old", "metrics": {"wer": 0.5}}))
    assert main(command(rows, run, "--resume-from-checkpoint", "last", steps=3)) == 0
    assert "wer" not in capsys.readouterr().out
    assert not (run / "metrics.json").exists()


def test_what_was_trained_how_and_on_what_is_written_down(finished):
    run = json.loads((finished / "finetune.json").read_text(encoding="utf-8"))
    assert run["arguments"]["lora_r"] == 16
    assert run["training_arguments"]["learning_rate"] == 1e-3
    assert run["rows"] == {"train": 2 * len(recordings()), "skipped": 0}


def test_a_model_with_an_adapter_in_it_is_refused(finished, rows, tmp_path, capsys):
    """It would be trained on, and left out of what is saved."""
    refused(capsys, command(rows, tmp_path / "run", "--model", str(finished)), "adapter in it")
    processor = transformers.AutoProcessor.from_pretrained(finished)
    args = transformers.TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    model = hf_tokcomp.load_adapter(finished, is_trainable=True)
    given = make_trainer(model, [], args, processor=processor)
    assert given.model is model


def test_a_push_that_fails_says_where_the_adapter_is(rows, tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("The Hub is away.")

    monkeypatch.setattr("hf_tokcomp.sharing.push.push_to_hub", fail)
    flags = ("--push", "--hub-model-id", "someone/adapter", "--base-model", "someone/base")
    assert main(command(rows, tmp_path / "run", *flags, steps=1)) == 1
    error = capsys.readouterr().err
    assert "The Hub is away." in error
    command_line = f"hf-tokcomp push someone/adapter --folder {tmp_path / 'run'} --base-model someone/base"
    assert command_line in error
    assert hf_tokcomp.active_config(hf_tokcomp.load_adapter(tmp_path / "run")).method == "average_pooling"
