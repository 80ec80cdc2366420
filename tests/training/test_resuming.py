"""Runs that were broken off and resumed: weights and log are those of the unbroken run, from every checkpoint."""

from __future__ import annotations

import shutil

import pytest
from test_finetune import adapter, command, log, manifest
from test_finetune import pytestmark as shipped
from training_tools import adapter_weights, rows, same, trainer
from transformers import TrainerCallback

from hf_tokcomp.cli import main
from hf_tokcomp.training import RetentionSchedule

__all__ = ["manifest"]
TIMES = ("runtime", "per_second", "preparation_time")
EVERY_STEP = {"save_strategy": "steps", "save_steps": 1}
CASES = {
    "within an epoch": {"max_steps": 5},
    "at its end": {"max_steps": 6},
    "logged seldom": {"max_steps": 5, "logging_steps": 4},
    "never logged": {"max_steps": 5, "logging_steps": 100},
    "logged by epochs": {"max_steps": 5, "logging_strategy": "epoch"},
    "measured by epochs": {"max_steps": 5, "eval_strategy": "epoch"},
    "by epochs to an epoch's end": {"num_train_epochs": 2, "eval_strategy": "epoch", "logging_strategy": "epoch"},
    "all by epochs": {"max_steps": 5, "eval_strategy": "epoch", "logging_strategy": "epoch", "save_strategy": "epoch"},
    "measured by steps": {"max_steps": 5, "eval_strategy": "steps", "eval_steps": 2, "eval_on_start": True},
    "accumulated": {"max_steps": 3, "gradient_accumulation_steps": 2, "logging_steps": 2},
    "the best at the end": {
        "max_steps": 5,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "load_best_model_at_end": True,
        "metric_for_best_model": "wer",
        "greater_is_better": False,
    },
}


def made(folder, args, compression):
    """Three steps an epoch, or, accumulated, two; with dropout, which must be drawn as in the unbroken run."""
    given = {"per_device_train_batch_size": 2, "restore_callback_states_from_checkpoint": "logging_steps" in args}
    schedule = RetentionSchedule([0.2, 0.7], seed=1)
    return trainer(
        "qwen2_audio",
        folder,
        compression,
        train=rows(6),
        eval_dataset=rows(2),
        task="asr",
        max_new_tokens=2,
        callbacks=[schedule],
        args=EVERY_STEP | given | args,
    )


def log_of(run):
    """All but times; everything is exact, the order too."""
    return [
        {name: value for name, value in entry.items() if not name.endswith(TIMES)} for entry in run.state.log_history
    ]


@pytest.mark.parametrize("case", CASES)
def test_from_every_checkpoint_it_ends_where_the_unbroken_run_ends(tmp_path, case):
    compression = {"method": "conv_resampler" if case == "accumulated" else "average_pooling", "retention_ratio": 0.4}
    unbroken = made(tmp_path / "unbroken", CASES[case], compression)
    output = unbroken.train()
    weights = adapter_weights(unbroken.model)
    checkpoints = sorted(path.name for path in (tmp_path / "unbroken").glob("checkpoint-*"))
    assert f"checkpoint-{unbroken.state.global_step}" in checkpoints
    for name in checkpoints:
        folder = tmp_path / name
        shutil.copytree(tmp_path / "unbroken", folder)  # the best so far is another checkpoint
        steps = []

        class Count(TrainerCallback):
            def on_step_begin(self, args, state, control, **_):
                steps.append(state.global_step)  # noqa: B023

        run = made(folder, CASES[case], compression)
        run.add_callback(Count)
        again = run.train(resume_from_checkpoint=str(folder / name))
        assert steps == list(range(int(name.split("-")[1]), unbroken.state.global_step)), name
        assert log_of(run) == log_of(unbroken), name
        assert again.training_loss == pytest.approx(output.training_loss, rel=1e-6)
        same(adapter_weights(run.model), weights, atol=0, rtol=0)


def test_the_mean_loss_is_of_all_steps(tmp_path):
    run = made(tmp_path, {"max_steps": 5}, "average_pooling")
    output = run.train()
    found = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert output.training_loss == pytest.approx(sum(found) / 5, rel=1e-5)


@shipped
def test_the_command_resumed_from_any_checkpoint_ends_there(manifest, tmp_path, capsys):
    """In the middle of an epoch, with a loss outside the model and one log for two steps; and no step further."""
    flags = ("--label-smoothing-factor", "0.1", "--logging-steps", "2")
    assert main(command(manifest, tmp_path / "unbroken", *flags, steps=5)) == 0
    for step in (2, 4, 5):
        folder = tmp_path / str(step)
        name = f"checkpoint-{step}"
        shutil.copytree(tmp_path / "unbroken" / name, folder / name)  # all that a kill leaves
        resume = command(manifest, folder, *flags, "--resume-from-checkpoint", "last", steps=5)
        assert main(resume) == 0
        same(adapter(folder), adapter(tmp_path / "unbroken"), atol=0, rtol=0)
        for key in ("step", "loss", "grad_norm", "learning_rate", "epoch", "tokens_kept", "train_loss", "total_flos"):
            assert log(folder, key) == log(tmp_path / "unbroken", key), f"{key} from step {step}"
    capsys.readouterr()
    assert main(command(manifest, folder, *flags, "--resume-from-checkpoint", "last", steps=3)) == 1
    assert "checkpoint-5 is of step 5, beyond --max-steps 3" in capsys.readouterr().err
