"""Runs that were broken off and resumed: weights and log are those of the unbroken run, from every checkpoint."""

from __future__ import annotations

import shutil

import pytest
from training_tools import adapter_weights, rows, same, trainer
from transformers import TrainerCallback

from hf_tokcomp.training import RetentionSchedule

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
