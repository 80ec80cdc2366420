"""`hf-tokcomp finetune` as people run it: real data on disk, real processes, the shipped small model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time

import compared
import pytest
import torch
import transformers
import warm
from places import ROOT
from safetensors.torch import load_file
from training_tools import run_processes

import hf_tokcomp
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.cli import main
from hf_tokcomp.data import load_examples
from hf_tokcomp.training import AudioTextCollator, GenerationMetrics

BASE = "someone/digits"

pytestmark = pytest.mark.skipif(
    not (SMALL_MODEL / "config.json").is_file(), reason=f"the shipped model is not at {SMALL_MODEL}"
)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """The shipped recordings, each four times: enough for an epoch of some steps."""
    file = tmp_path_factory.mktemp("digits") / "manifest.jsonl"
    rows = [{"audio": str(path), "text": truth, "prompt": "Transcribe the digits."} for path, truth in recordings()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows * 4), encoding="utf-8")
    return file


def command(manifest, output, *more, evaluate=False, steps=6):
    flags = {
        "--dataset": manifest,
        "--output-dir": output,
        "--compression": "average_pooling",
        "--retention-ratio": 1 / 3,
        "--positions": "original",
        "--max-steps": steps,
        "--per-device-train-batch-size": 4,
        "--learning-rate": 1e-3,
        "--logging-steps": 1,
        "--save-steps": 2,
        "--max-new-tokens": 10,
        "--seed": 3,
    }
    if evaluate:
        flags |= {"--eval-dataset": manifest, "--max-eval-samples": 3}
    given = [str(part) for name, value in flags.items() if name not in more for part in (name, value)]
    return ["finetune", *given, "--use-cpu", "--disable-tqdm", "true", *more]


def environment():
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths}


def adapter(folder):
    return load_file(folder / "adapter_model.safetensors")


def same(first, second, **tolerance):
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], msg=lambda m, name=name: f"{name}: {m}", **tolerance)


def log(folder, key):
    rows = json.loads((folder / "finetune.json").read_text(encoding="utf-8"))["log"]
    return [row[key] for row in rows if key in row]


@pytest.fixture(scope="module")
def unbroken(manifest, tmp_path_factory):
    """A run from its beginning to its end."""
    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    given = command(manifest, folder, "--ratios", "0.5", "0.3333", "--evaluate-uncompressed", "true", evaluate=True)
    assert main(given) == 0
    return folder


def test_the_folder_has_everything(unbroken):
    names = {path.name for path in unbroken.iterdir()}
    assert names >= {
        "adapter_config.json",
        "adapter_model.safetensors",
        "compression_config.json",
        "processor_config.json",
        "tokenizer.json",
        "metrics.json",
        "finetune.json",
        "prompt.json",
        "README.md",
    }
    assert hf_tokcomp.CompressionConfig.from_pretrained(unbroken).retention_ratio == pytest.approx(1 / 3)
    losses = log(unbroken, "loss")
    assert len(losses) == 6
    assert sum(losses[3:]) < sum(losses[:3])
    kept = log(unbroken, "tokens_kept")
    assert {round(share, 1) for share in kept} == {0.3, 0.5}, "the ratios are drawn step by step"


def test_the_card_shows_what_was_measured(unbroken):
    card = (unbroken / "README.md").read_text(encoding="utf-8")
    metrics = json.loads((unbroken / "metrics.json").read_text(encoding="utf-8"))
    assert "| | compressed | before training | all tokens |" in card
    assert "type: wer" in card
    row = next(line for line in card.splitlines() if line.startswith("| `wer` in % |"))
    cells = [float(cell) for cell in row.split("|")[2:-1]]
    kinds = ("metrics", "before", "uncompressed")
    assert cells == pytest.approx([metrics[kind]["wer"] for kind in kinds], rel=1e-3)
    assert metrics["uncompressed"]["tokens_kept"] == 1
    assert metrics["metrics"]["tokens_kept"] == pytest.approx(1 / 3, abs=0.01)


def test_it_loads_in_one_line_and_reproduces_its_metrics(unbroken, manifest):
    metrics = json.loads((unbroken / "metrics.json").read_text(encoding="utf-8"))
    model = hf_tokcomp.load_adapter(unbroken)
    collator = AudioTextCollator(transformers.AutoProcessor.from_pretrained(unbroken))
    rows = load_examples(str(manifest), max_samples=3).dataset
    measured = GenerationMetrics(collator, "asr", batch_size=3, max_new_tokens=10).measure(model, rows)
    assert measured == pytest.approx(metrics["metrics"])
    with torch.no_grad():
        trained = model(**collator(rows)).logits
        with model.disable_adapter():
            untrained = model(**collator(rows)).logits
    assert (trained - untrained).abs().max() > 1e-2, "nothing was learned"


def test_the_command_line_reads_with_an_adapter(unbroken, manifest, capsys):
    """Its base model, its compression, and the prompts that the base model knows."""
    metrics = json.loads((unbroken / "metrics.json").read_text(encoding="utf-8"))
    assert main(["run", "--model", str(unbroken), "--json"]) == 0
    ran = json.loads(capsys.readouterr().out)
    read = ["--model", str(unbroken), "--dataset", str(manifest), "--max-new-tokens", "10", "--json"]
    cells = ["--compression", "average_pooling", "--retention-ratio", "1/3", "--positions", "original"]
    assert main(["compare", *read, *cells]) == 0
    cell = compared.cells(json.loads(capsys.readouterr().out))["average_pooling", 1 / 3, "original"]
    assert cell["wer"] == pytest.approx(metrics["metrics"]["wer"])
    texts = [reading["text"] for reading in ran["results"]]
    assert texts == cell["text"][0][: len(texts)]
    assert all(reading["tokens_after"] * 2 < reading["tokens_before"] for reading in ran["results"])


def test_what_it_was_asked_is_stored_and_asked_again(unbroken, tmp_path, capsys):
    asked = "Transcribe the digits."  # the rows' own, and not the default of --task asr
    for file in (unbroken / "prompt.json", unbroken / "checkpoint-2" / "prompt.json"):
        assert json.loads(file.read_text(encoding="utf-8")) == {"prompt": asked, "task": "asr"}
    for name in ("finetune.json", "metrics.json"):
        assert json.loads((unbroken / name).read_text(encoding="utf-8"))["prompt"] == asked
    card = (unbroken / "README.md").read_text(encoding="utf-8")
    assert f'"text": "{asked}"' in card
    assert f"Asked `{asked}`." in card
    shutil.copytree(unbroken, tmp_path / "other")
    (tmp_path / "other" / "prompt.json").write_text('{"prompt": "Which digits are spoken?"}')
    assert main(["run", "--model", str(tmp_path / "other"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["prompt"] == "Which digits are spoken?"


COMMAND = "import sys; from hf_tokcomp.cli import main; sys.exit(main(sys.argv[1:]))"


def test_killed_and_resumed_it_ends_where_the_unbroken_run_does(unbroken, manifest, tmp_path):
    folder = tmp_path / "broken"
    given = command(manifest, folder, "--ratios", "0.5", "0.3333")
    process, end = warm.Started(COMMAND, *given, env=environment()), time.monotonic() + 120
    while time.monotonic() < end and not (folder / "checkpoint-2" / "trainer_state.json").is_file():
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait().returncode == -signal.SIGKILL
    assert not (folder / "adapter_config.json").exists()
    assert main(given) == 1, "an earlier run is not overwritten"
    assert main([*given, "--resume-from-checkpoint", "last"]) == 0
    same(adapter(folder), adapter(unbroken), atol=1e-6, rtol=1e-5)
    assert log(folder, "loss") == pytest.approx(log(unbroken, "loss"), rel=1e-5)


def test_two_processes_learn_what_one_does(manifest, tmp_path):
    """The same rows per step, one process or two: the loss is over all of them together."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    fixed = ("--lora-dropout", "0", "--lr-scheduler-type", "constant")
    assert main(command(manifest, alone, *fixed, steps=3, evaluate=True)) == 0
    given = command(manifest, together, *fixed, "--per-device-train-batch-size", "2", steps=3, evaluate=True)
    run_processes("from hf_tokcomp.cli import main\nassert main(sys.argv[1:]) == 0\n", *given)
    assert json.loads((together / "finetune.json").read_text(encoding="utf-8"))["processes"] == 2
    same(adapter(together), adapter(alone), atol=2e-4, rtol=1e-2)
    assert log(together, "loss") == pytest.approx(log(alone, "loss"), rel=1e-3)
    one, two = (json.loads((f / "metrics.json").read_text(encoding="utf-8")) for f in (alone, together))
    assert two["before"] == pytest.approx(one["before"])


def test_processes_that_do_not_know_each_other_stop(manifest, tmp_path):
    """Without --use-cpu each would train by itself, into the same folder."""
    given = [part for part in command(manifest, tmp_path / "run") if part != "--use-cpu"]
    started = environment() | {"WORLD_SIZE": "2"}
    done = warm.run(COMMAND, *given, env=started)
    assert done.returncode == 1
    assert "2 processes were started" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_yaml_file_and_flags_over_it(manifest, tmp_path, capsys):
    file = tmp_path / "run.yaml"
    file.write_text(
        f"dataset: {manifest}\noutput_dir: {tmp_path / 'run'}\ncompression: {{method: stride, retention_ratio: 0.5}}\n"
        "max_steps: 5\nlearning_rate: 1e-3\nuse_cpu: true\ndisable_tqdm: true\nadapt: [projector]\n",
        encoding="utf-8",
    )
    assert main(["finetune", str(file), "--max-steps", "1", "--per-device-train-batch-size=2"]) == 0
    run = json.loads((tmp_path / "run" / "finetune.json").read_text(encoding="utf-8"))
    assert run["steps"] == 1
    assert run["compression"]["method"] == "stride"
    assert all("multi_modal_projector" in name for name in adapter(tmp_path / "run"))
    file.write_text("lerning_rate: 1\n", encoding="utf-8")
    assert main(["finetune", str(file)]) == 1
    assert "learning_rate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--lerning-rate", "1"], "learning_rate"),
        (["--push"], "--hub-model-id"),
        (["--push-to-hub"], "--push"),
        (["--compression", "averge_pooling"], "average_pooling"),
        (["--adapt", "encoder"], "language_model"),
        (["--task", "sing"], "asr"),
        (["--dataset", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--model", "nowhere/"], "nowhere"),
        (["--resume-from-checkpoint", "last"], "no checkpoint"),
        (["--ratios", "3/2"], "at most 1"),
        (["--compression", "none", "--curriculum", "0.5"], "retention"),
        (["--load-in-4bit", "--load-in-8bit"], "cannot be combined"),
        (["--lora-r", "0"], "--lora-r"),
    ],
)
def test_what_is_wrong_is_said_and_leaves_no_folder(manifest, tmp_path, capsys, flags, said):
    flags = [*flags, "--retention-ratio", "0.5"] if "none" not in flags else flags
    given = command(manifest, tmp_path / "run", *flags)
    if "none" in flags:
        at = given.index("--retention-ratio")
        del given[at : at + 4]
    assert main(given) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_bad_row_stops_with_its_line_or_is_counted(manifest, tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    file.write_text(
        manifest.read_text(encoding="utf-8") + json.dumps({"audio": "gone.wav", "text": "one", "prompt": "p"}) + "\n",
        encoding="utf-8",
    )
    assert main(command(file, tmp_path / "run", steps=1)) == 1
    error = capsys.readouterr().err
    assert "gone.wav" in error
    assert "13" in error
    assert main(command(file, tmp_path / "run", "--skip-bad", steps=1)) == 0
    assert json.loads((tmp_path / "run" / "finetune.json").read_text(encoding="utf-8"))["rows"]["skipped"] == 1


def test_push_shares_all_of_it(hub_here, manifest, tmp_path):
    repo = "someone/adapter"
    api = hub_here
    flags = ("--push", "--hub-model-id", repo, "--base-model", BASE)
    assert main(command(manifest, tmp_path / "run", *flags, steps=1, evaluate=True)) == 0
    files = api.files(repo)
    assert {"adapter_config.json", "adapter_model.safetensors", "compression_config.json", "README.md"} <= set(files)
    assert not any(name.startswith("checkpoint-") for name in files)
    card = files["README.md"].decode()
    assert f"base_model: {BASE}" in card
    assert "before training" in card
    with hub_here.here("elsewhere"):
        model = hf_tokcomp.load_adapter(repo, base=str(SMALL_MODEL))
    assert hf_tokcomp.active_config(model).method == "average_pooling"


def test_help_names_our_arguments_and_where_the_others_are(capsys):
    assert main(["finetune", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--retention-ratio" in out
    assert "--help-all" in out
    assert "--num-train-epochs" not in out.split("And every argument")[0]
    assert main(["finetune", "--help-all"]) == 0
    assert "--gradient-accumulation-steps" in capsys.readouterr().out
