"""make_trainer: a plain Trainer, whose steps, accumulation and checkpoints are right under compression."""

from __future__ import annotations

import copy

import drawn
import pytest
import tiny
import torch
import toy_learned
from peft import LoraConfig, PeftModel, get_peft_model
from training_tools import (
    POOLING,
    PROMPT,
    adapter_weights,
    arguments,
    plain_processor,
    rows,
    small_lora,
    trainer,
)
from transformers import Trainer, TrainerCallback, set_seed

import hf_tokcomp
from hf_tokcomp import active_config
from hf_tokcomp.training import AudioTextCollator, RetentionSchedule, lora_config, make_trainer

METHODS = list(hf_tokcomp.methods())


def losses(run):
    run.train()
    return [entry["loss"] for entry in run.state.log_history if "loss" in entry]


def same(first, second, **tolerance):
    assert set(first) == set(second)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], msg=lambda text, n=name: f"{n}: {text}", **tolerance)


def test_it_is_a_plain_trainer_and_args_stay_as_they_are(kind, tmp_path):
    args = arguments(tmp_path)
    before = copy.deepcopy(args.to_dict())
    model = tiny.model(kind)
    given = rows(4)
    run = make_trainer(model, given, args, processor=plain_processor(kind), compression=POOLING, prompt=PROMPT)
    assert type(run) is Trainer
    assert args.to_dict() == before
    changed = {name for name, value in run.args.to_dict().items() if value != before[name]}
    assert changed == {"remove_unused_columns", "label_names", "prediction_loss_only"}
    assert run.train_dataset is given
    assert type(run.data_collator) is AudioTextCollator
    assert isinstance(run.model, PeftModel)
    assert run.model.get_base_model() is model
    assert active_config(run.model).to_dict().items() >= POOLING.items()


def test_what_the_model_is_decides(tmp_path):
    """Unpatched it gets `none`; patched or in PEFT it stays, unless told otherwise."""
    make = {"kind": "qwen2_audio", "folder": tmp_path}
    assert active_config(trainer(**make, compression=None).model).method == "none"
    patched = hf_tokcomp.patch(tiny.model("qwen2_audio"), "stride")
    compressor = patched.audio_compressor
    assert trainer(**make, compression=None, model=patched).model.get_base_model().audio_compressor is compressor
    peft_model = get_peft_model(patched, LoraConfig(r=3, target_modules=["q_proj"]))
    run = trainer(**make, compression=None, model=peft_model)
    assert run.model is peft_model
    assert active_config(peft_model).method == "stride"
    assert list(peft_model.peft_config) == ["default"]
    run = trainer(**make, compression="ltbm", model=peft_model)
    assert active_config(run.model).method == "ltbm"


def test_which_adapter(tmp_path):
    run = trainer("qwen2_audio", tmp_path)
    assert run.model.peft_config["default"].r == lora_config(tiny.model("qwen2_audio")).r == 16
    given = LoraConfig(r=3, target_modules=["v_proj"])
    assert trainer("qwen2_audio", tmp_path, lora=given).model.peft_config["default"] is given


def test_the_adapter_begins_as_the_seed_says(tmp_path):
    def first(seed, state):
        torch.manual_seed(state)
        return adapter_weights(trainer("qwen2_audio", tmp_path, args={"seed": seed}).model)

    same(first(0, 1), first(0, 2), atol=0, rtol=0)
    name, value = next((n, v) for n, v in first(0, 1).items() if "lora_A" in n)
    assert not torch.equal(value, first(5, 1)[name])


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="give eval_dataset, too"):
        trainer("qwen2_audio", tmp_path, task="asr")
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="Supported: qwen2_audio"):
        trainer("qwen2_audio", tmp_path, model=torch.nn.Linear(1, 1))
    with pytest.raises(hf_tokcomp.CompressionConfigError, match="average_pooling"):
        trainer("qwen2_audio", tmp_path, compression="average_poling")


def test_a_compute_metrics_of_ones_own_is_called(tmp_path):
    seen = []

    def compute(result):
        seen.append(result.predictions.shape)
        return {"mine": 0.5}

    def shorter(logits, labels):
        return logits[0].argmax(-1) if isinstance(logits, tuple) else logits.argmax(-1)

    run = trainer(
        "qwen2_audio", tmp_path, eval_dataset=rows(4), compute_metrics=compute, preprocess_logits_for_metrics=shorter
    )
    metrics = run.evaluate(ignore_keys=["past_key_values"])
    assert metrics["eval_mine"] == 0.5
    assert seen


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


def test_the_saved_folder_is_the_model(kind, tmp_path):
    base, out = tmp_path / "base", tmp_path / "out"
    tiny.model(kind).save_pretrained(base)
    model = hf_tokcomp.supported_models()[kind].model_classes[0]
    model = getattr(__import__("transformers"), model).from_pretrained(base)
    run = trainer(kind, out, POOLING, model)
    run.train()
    run.save_model()
    names = {file.name for file in out.iterdir()}
    assert names >= {
        "adapter_config.json",
        "adapter_model.safetensors",
        "compression_config.json",
        "processor_config.json",
        "tokenizer.json",
    }
    batch = AudioTextCollator(plain_processor(kind), PROMPT)(rows(3))
    loaded = hf_tokcomp.load_adapter(out)
    with torch.no_grad():
        expected = run.model.eval()(**batch).logits
        assert torch.equal(loaded(**batch).logits, expected)
        with run.model.disable_adapter():
            assert not torch.allclose(run.model(**batch).logits, expected, atol=1e-3)
    from transformers import AutoProcessor

    again = AutoProcessor.from_pretrained(out)
    again.chat_template = None  # Qwen2-Audio's comes back of itself
    for name, value in AudioTextCollator(again, PROMPT)(rows(3)).items():
        assert torch.equal(value, batch[name])
