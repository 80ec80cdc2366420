"""Steps of training under compression: losses, accumulation, checkpointing, every method, and resumed runs."""

from __future__ import annotations

import drawn
import pytest
import tiny
import torch
import toy_learned
from peft import get_peft_model
from training_tools import (
    POOLING,
    PROMPT,
    adapter_weights,
    arguments,
    losses,
    plain_processor,
    rows,
    same,
    small_lora,
    trainer,
)
from transformers import Trainer, TrainerCallback, set_seed

import hf_tokcomp
from hf_tokcomp.training import AudioTextCollator, RetentionSchedule

METHODS = list(hf_tokcomp.methods())


def test_training_learns(kind, tmp_path):
    found = losses(trainer(kind, tmp_path, args={"max_steps": 12, "per_device_train_batch_size": 8}))
    assert len(found) == 12
    assert sum(found[-3:]) < 0.75 * sum(found[:3])


def test_the_same_losses_without_us(kind, tmp_path):
    """The convergence test: a plain Trainer on the unpatched model, and make_trainer under `none`."""
    model = tiny.model(kind)
    set_seed(0)
    plain = Trainer(
        model=get_peft_model(model, small_lora(model, lora_dropout=0.1)),
        args=arguments(tmp_path, remove_unused_columns=False, max_steps=3),
        train_dataset=rows(),
        data_collator=AudioTextCollator(plain_processor(kind), PROMPT),
    )
    expected = losses(plain)  # before the other is made, which begins with the seed again
    model = tiny.model(kind)
    ours = trainer(kind, tmp_path, "none", model, lora=small_lora(model, lora_dropout=0.1), args={"max_steps": 3})
    assert losses(ours) == expected
    same(adapter_weights(plain.model), adapter_weights(ours.model), atol=0, rtol=0)


@pytest.mark.parametrize("compression", ["none", POOLING], ids=["none", "pooling"])
def test_accumulation_gives_the_same_weights(kind, tmp_path, compression):
    """Answers differ in length, so a mean of means would not do; sgd, or a step would hide the gradient's scale."""
    found = []
    for accumulation in (1, 4):
        model = tiny.model(kind)
        args = {"gradient_accumulation_steps": accumulation, "per_device_train_batch_size": 8 // accumulation}
        args |= {"optim": "sgd", "max_grad_norm": 0.0, "learning_rate": 0.1}
        run = trainer(kind, tmp_path, compression, model, lora=small_lora(model), args=args)
        found.append((losses(run), adapter_weights(run.model)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-3)  # logged with four digits
    same(found[0][1], found[1][1], atol=2e-6, rtol=1e-4)


def test_gradient_checkpointing_gives_the_same_weights(kind, tmp_path):
    found = []
    for checkpointing in (False, True):
        model = tiny.model(kind)
        args = {"gradient_checkpointing": checkpointing, "optim": "sgd", "max_steps": 2, "learning_rate": 0.1}
        run = trainer(kind, tmp_path, POOLING, model, lora=small_lora(model), args=args)
        before = adapter_weights(run.model)
        run.train()
        assert model.model.language_model.gradient_checkpointing == checkpointing
        after = adapter_weights(run.model)
        assert sum(not torch.equal(after[name], value) for name, value in before.items()) == len(before)
        found.append(after)
    same(*found, atol=1e-6, rtol=1e-4)


class Gradients(TrainerCallback):
    """What the last step's gradients were."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        self.found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def check_gradients(gradients):
    assert gradients
    assert all("lora_" in name for name in gradients)
    assert all(value.isfinite().all() for value in gradients.values())
    layers = {name.split(".self_attn")[0].split(".mlp")[0] for name in gradients}
    for layer in layers:
        assert any(value.abs().max() > 0 for name, value in gradients.items() if name.startswith(layer))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(kind, tmp_path, method):
    """Segmentation among them, whose counts depend on the sound."""
    watch, config = Gradients(), drawn.config(method, retention_ratio=0.4)
    model = tiny.model(kind)
    given = rows(4)
    if kind == "audioflamingo3":
        given[0]["audio"] = tiny.sound(2.3)
    args = {"max_steps": 1}
    run = trainer(kind, tmp_path, config, model, lora=small_lora(model), callbacks=[watch], train=given, args=args)
    assert 0 < losses(run)[0] < 20
    check_gradients(watch.found)
    last = model.audio_compressor.last
    assert sum(last.tokens_after) <= sum(last.tokens_before)
    if config.accepts_budget:
        assert sum(last.tokens_after) < sum(last.tokens_before)


class StopHalfWay(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step == 2


@pytest.mark.parametrize("learned", [False, True], ids=["pooling", "learned"])
def test_a_resumed_run_ends_where_the_unbroken_one_does(kind, tmp_path, learned):
    """With dropout, ratios drawn for every step and two epochs in another order each."""

    def run(folder, *callbacks):
        model = hf_tokcomp.patch(tiny.model(kind), toy_learned.CONFIG if learned else POOLING)
        if learned:
            toy_learned.stir(model.audio_compressor)
        schedule = RetentionSchedule([0.2, 0.5, 0.8], curriculum=0.5, seed=1)
        args = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
        lora = small_lora(model, lora_dropout=0.3)
        return trainer(kind, folder, None, model, lora=lora, callbacks=[schedule, *callbacks], args=args)

    with toy_learned.registered():
        unbroken = run(tmp_path / "a")
        unbroken.train()
        run(tmp_path / "b", StopHalfWay()).train()
        again = run(tmp_path / "b")
        before = adapter_weights(again.model)
        again.train(resume_from_checkpoint=True)
        same(adapter_weights(unbroken.model), adapter_weights(again.model), atol=0, rtol=0)
        assert again.state.global_step == 4
        assert any(not torch.equal(value, before[name]) for name, value in adapter_weights(again.model).items())
        assert any("audio_compressor" in name for name in before) == learned
