"""Loss, gradients, gradient checkpointing, PEFT and the real Trainer under compression."""

from __future__ import annotations

from itertools import pairwise

import drawn
import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainingArguments

import hf_tokcomp
from hf_tokcomp.models.cache_names import CACHE_NAMES

pytestmark = pytest.mark.grad
METHODS = [m for m in hf_tokcomp.methods() if m != "none"]
LORA = LoraConfig(r=2, target_modules=r".*language_model.*\.(q_proj|v_proj)", init_lora_weights=False)


def labelled(kind, seconds, side="right"):
    inputs = dict(tiny.inputs(kind, seconds, side=side))
    labels = inputs["input_ids"].clone()
    labels[inputs["attention_mask"] == 0] = -100
    # Upstream predicts a left-padded row's first token from padding; nobody trains on that.
    labels[torch.arange(len(labels)), inputs["attention_mask"].argmax(1)] = -100
    labels[labels == tiny.model(kind).config.audio_token_id] = -100
    return inputs | {"labels": labels}


@pytest.mark.parametrize("side", ["left", "right"])
def test_loss_is_that_of_the_shortened_sequence(kind, model, seconds, side):
    batch = labelled(kind, seconds, side)
    hf_tokcomp.patch(model, {"method": "top_k", "retention_ratio": 0.4})
    out = model(**batch)
    last = model.audio_compressor.last
    logits = out.logits.log_softmax(-1)
    terms = []
    for row in range(len(last.columns)):
        kept = [(j, int(c)) for j, c in enumerate(last.columns[row]) if c >= 0]
        for (j, _), (_, following) in pairwise(kept):
            label = int(batch["labels"][row, following])
            if label != -100:
                terms.append(-logits[row, j, label])
    torch.testing.assert_close(out.loss, torch.stack(terms).mean(), atol=1e-5, rtol=1e-5)
    assert torch.equal(last.labels[last.columns < 0], torch.full_like(last.labels[last.columns < 0], -100))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_projector_and_audio_tower(kind, model, seconds, method):
    hf_tokcomp.patch(model, drawn.config(method, retention_ratio=0.4))
    model.train()
    model(**labelled(kind, seconds)).loss.backward()
    for part in (model.model.multi_modal_projector, model.model.audio_tower.layers[0], model.model.language_model):
        grads = [p.grad for p in part.parameters()]
        assert all(g is not None and g.isfinite().all() for g in grads)
        assert any(g.abs().max() > 0 for g in grads)


def enable_checkpointing(model):
    """The newer name where there is one."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()


def test_gradient_checkpointing_gives_the_same_gradients(kind, seconds):
    batch = labelled(kind, seconds)
    grads = []
    for checkpointing in (False, True):
        model = tiny.model(kind).train()
        hf_tokcomp.patch(model, {"method": "top_k", "retention_ratio": 0.4})
        if checkpointing:
            enable_checkpointing(model)
        model(**batch).loss.backward()
        grads.append([p.grad for p in model.parameters() if p.requires_grad])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("order", ["patch first", "peft first", "patch the peft model"])
def test_peft_before_or_after_patching(kind, seconds, order):
    batch = labelled(kind, seconds)
    model = tiny.model(kind)
    config = {"method": "ltbm", "retention_ratio": 0.4}
    torch.manual_seed(0)
    if order == "patch first":
        peft_model = get_peft_model(hf_tokcomp.patch(model, config), LORA)
    else:
        peft_model = get_peft_model(model, LORA)
        hf_tokcomp.patch(model if order == "peft first" else peft_model, config)
    out = peft_model(**batch)
    assert out.logits.shape[1] < batch["input_ids"].shape[1]
    out.loss.backward()
    trained = [n for n, p in peft_model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0]
    assert trained
    assert all("lora" in name for name in trained)
    prompt = dict(tiny.inputs(kind, seconds))
    ids = peft_model.generate(**prompt, max_new_tokens=3, do_sample=False)
    assert torch.equal(ids[:, :-3], prompt["input_ids"])
    expected = reference_model(kind, config).generate(**prompt, max_new_tokens=3, do_sample=False)
    assert torch.equal(ids, expected)
    hf_tokcomp.unpatch(peft_model)
    assert peft_model(**batch).logits.shape[1] == batch["input_ids"].shape[1]


def reference_model(kind, config):
    model = tiny.model(kind)
    torch.manual_seed(0)
    return hf_tokcomp.patch(get_peft_model(model, LORA).eval(), config)


class Rows(torch.utils.data.Dataset):
    """Single examples, padded to one length so that the default collator can stack them."""

    def __init__(self, kind, number=8):
        lengths = [0.9, 0.6, 0.8, 0.5] * (number // 4)
        batch = labelled(kind, lengths)
        self.rows = [{k: v[i] for k, v in batch.items()} for i in range(number)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def trainer(kind, folder, compression, accumulation=1, **options):
    model = tiny.model(kind)
    if compression:
        hf_tokcomp.patch(model, compression)
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
        per_device_eval_batch_size=4,
        learning_rate=1e-2,
        max_steps=2,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    return Trainer(model=model, args=arguments, train_dataset=Rows(kind), eval_dataset=Rows(kind), **options)


def same_weights(first, second, **tolerance):
    for (name, a), (_, b) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, msg=lambda m, name=name: f"{name}: {m}", **tolerance)


@pytest.mark.parametrize("compression", ["none", {"method": "top_k", "retention_ratio": 0.4}])
def test_trainer_gives_the_same_step_with_and_without_accumulation(kind, tmp_path, compression):
    """Rows have different numbers of labels, so a mean of means would not do."""
    runs = [trainer(kind, tmp_path, compression, n) for n in (1, 4)]
    losses = []
    for run in runs:
        for number, row in enumerate(run.train_dataset.rows):
            wanted = (row["labels"] != -100).nonzero().flatten()
            row["labels"][wanted[: -1 - number // 2]] = -100
        losses.append(run.train().training_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    same_weights(runs[0].model, runs[1].model, atol=2e-6, rtol=1e-4)


def test_training_under_none_is_training_without_us(kind, tmp_path):
    """The convergence test: the same losses and the same weights, step for step."""
    plain, none = trainer(kind, tmp_path, None), trainer(kind, tmp_path, "none")
    losses = [run.train().training_loss for run in (plain, none)]
    assert losses[0] == losses[1]
    same_weights(plain.model, none.model, atol=0, rtol=0)


def test_trainer_keeps_all_columns(kind, tmp_path):
    run = trainer(kind, tmp_path, {"method": "stride", "retention_ratio": 0.4})
    run._set_signature_columns_if_needed()
    assert set(run.train_dataset[0]) <= set(run._signature_columns)


def test_trainer_evaluates_with_compute_metrics(kind, tmp_path):
    """Predictions come back in the columns of the user's prompt, so labels line up."""
    seen = {}

    def to_prompt(logits, labels):
        logits = logits[0] if isinstance(logits, tuple) else logits
        last = run.model.audio_compressor.last
        predicted = logits.argmax(-1).roll(1, dims=1)  # column j now holds the prediction of column j
        predicted[:, 0] = -100
        return last.to_prompt(predicted)

    def compute_metrics(result):
        seen.update(predictions=result.predictions, labels=result.label_ids)
        counted = result.label_ids != -100
        return {"accuracy": float((result.predictions == result.label_ids)[counted].mean())}

    run = trainer(
        kind,
        tmp_path,
        {"method": "ltbm", "retention_ratio": 0.4},
        compute_metrics=compute_metrics,
        preprocess_logits_for_metrics=to_prompt,
    )
    metrics = run.evaluate(ignore_keys=list(CACHE_NAMES))  # transformers 5.17 needs telling, patched or not
    assert seen["predictions"].shape == seen["labels"].shape == (8, run.eval_dataset[0]["input_ids"].shape[0])
    expected = []
    with torch.no_grad():
        for row in run.eval_dataset.rows:
            out = run.model(**{k: v[None] for k, v in row.items()})
            last = run.model.audio_compressor.last
            counted = last.labels[0, 1:] != -100
            expected.append((out.logits[0, :-1].argmax(-1) == last.labels[0, 1:])[counted])
    assert metrics["eval_accuracy"] == pytest.approx(float(torch.cat(expected).float().mean()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(kind, seconds, dtype):
    model = tiny.model(kind).to(dtype)
    hf_tokcomp.patch(model, {"method": "ltbm", "retention_ratio": 0.4})
    batch = labelled(kind, seconds)
    batch["input_features"] = batch["input_features"].to(dtype)
    out = model(**batch)
    assert out.logits.dtype == dtype
    assert out.loss.isfinite()
    prompt = dict(tiny.inputs(kind, seconds))
    prompt["input_features"] = prompt["input_features"].to(dtype)
    assert model.generate(**prompt, max_new_tokens=2, do_sample=False).shape[1] == prompt["input_ids"].shape[1] + 2
