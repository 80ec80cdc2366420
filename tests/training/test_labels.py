"""Losses and metrics outside the model: the labels that they see are in the columns of the logits."""

from __future__ import annotations

import copy

import pytest
import tiny
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from training_tools import POOLING, PROMPT, adapter_weights, losses, plain_processor, rows, same, small_lora, trainer

import hf_tokcomp
from hf_tokcomp.training import AudioTextCollator, CompressedTrainer, RetentionSchedule, shortened

PLAIN = {"optim": "sgd", "max_grad_norm": 0.0, "learning_rate": 0.1}
METHODS = [POOLING, {"method": "segmentation"}, {"method": "none"}]  # a known count, one that follows the content, all


def by_hand(model, batch):
    """The shortened labels, from the answer that ends a row: it is shortened before it, and nothing else is learned."""
    with torch.no_grad():
        logits = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    before, after = model.audio_compressor.last.tokens_before, model.audio_compressor.last.tokens_after
    labels = torch.full(logits.shape[:2], -100)
    for row, given in enumerate(batch["labels"]):
        answer = given[given != -100]
        begin = int((given != -100).nonzero()[0]) - (before[row] - after[row])
        labels[row, begin : begin + len(answer)] = answer
    return logits, labels


def smoothed(logits, labels, epsilon):
    """Of every token of an answer, from the logits one column before it; the mean over all of them."""
    found = []
    for row in range(labels.shape[0]):
        for column in range(1, labels.shape[1]):
            if labels[row, column] != -100:
                minus = -torch.log_softmax(logits[row, column - 1].double(), -1)
                found.append((1 - epsilon) * minus[labels[row, column]] + epsilon * minus.mean())
    return float(torch.stack(found).mean())


@pytest.fixture
def batch(kind):
    return AudioTextCollator(plain_processor(kind), PROMPT)(rows(4))


@pytest.mark.parametrize("compression", METHODS, ids=lambda config: config["method"])
def test_values_come_to_the_columns_of_the_logits(kind, batch, compression):
    model = hf_tokcomp.patch(tiny.model(kind), compression).eval()
    logits, labels = by_hand(model, batch)
    found = shortened(model, batch["labels"])
    assert torch.equal(found, labels)
    record = model.audio_compressor.last
    assert torch.equal(record.to_prompt(found), batch["labels"])
    wide = torch.randn(*batch["labels"].shape, 3, dtype=torch.float64)
    expected = torch.stack([shortened(model, wide[..., part], 7.0) for part in range(3)], -1)
    assert torch.equal(shortened(model, wide, 7.0), expected)
    assert expected.shape[:2] == logits.shape[:2]
    with torch.no_grad():
        assert model(**batch).loss == pytest.approx(smoothed(logits, labels, 0.0), rel=1e-5)


def test_values_of_another_prompt_are_refused(kind, batch):
    model = hf_tokcomp.patch(tiny.model(kind), POOLING)
    model(**batch)
    with pytest.raises(ValueError, match="right after the model"):
        shortened(model, batch["labels"][:, 1:])
    with pytest.raises(ValueError, match="right after the model"):
        shortened(model, batch["labels"][:1])


@pytest.mark.parametrize("compression", METHODS, ids=lambda config: config["method"])
def test_label_smoothing_is_of_the_shortened_labels(kind, tmp_path, batch, compression):
    model = tiny.model(kind)
    untouched = hf_tokcomp.patch(copy.deepcopy(model), compression).eval()
    args = PLAIN | {"label_smoothing_factor": 0.3, "max_steps": 1}
    run = trainer(kind, tmp_path, compression, model, lora=small_lora(model), train=rows(4), args=args)
    expected = smoothed(*by_hand(untouched, batch), 0.3)
    assert run.evaluate(rows(4))["eval_loss"] == pytest.approx(expected, rel=1e-5)
    assert losses(run) == pytest.approx([expected], rel=1e-4)


def test_label_smoothing_under_accumulation_gives_the_same_weights(kind, tmp_path):
    found = []
    for accumulation in (1, 4):
        model = tiny.model(kind)
        args = PLAIN | {"label_smoothing_factor": 0.3, "max_steps": 2}
        args |= {"gradient_accumulation_steps": accumulation, "per_device_train_batch_size": 8 // accumulation}
        run = trainer(kind, tmp_path, POOLING, model, lora=small_lora(model), args=args)
        found.append((losses(run), adapter_weights(run.model)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-3)
    same(found[0][1], found[1][1], atol=2e-6, rtol=1e-4)


def own_loss(outputs, labels, num_items_in_batch=None):
    """The model's own, as a user would write it."""
    flat = outputs["logits"][:, :-1].flatten(0, 1).float()
    total = cross_entropy(flat, labels[:, 1:].flatten(), ignore_index=-100, reduction="sum")
    return total / ((labels[:, 1:] != -100).sum() if num_items_in_batch is None else num_items_in_batch)


@pytest.mark.parametrize("scheduled", [False, True])
def test_a_loss_of_ones_own_sees_short_labels(kind, tmp_path, scheduled):
    """It trains as the model's own loss does, also where the length changes from step to step."""
    found = []
    for given in ({}, {"compute_loss_func": own_loss}):
        model = tiny.model(kind)
        args = PLAIN | {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2, "max_steps": 3}
        schedule = [RetentionSchedule([0.2, 0.7], seed=3)] if scheduled else []
        run = trainer(kind, tmp_path, POOLING, model, lora=small_lora(model), args=args, callbacks=schedule, **given)
        found.append((losses(run), adapter_weights(run.model)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    same(found[0][1], found[1][1], atol=1e-6, rtol=1e-5)


class Distilled(CompressedTrainer):
    """Learns from the logits that a teacher has with all tokens, where answers are."""

    teacher = None

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        labels = shortened(model, inputs["labels"])
        with torch.no_grad():
            given = {name: value for name, value in inputs.items() if name != "labels"}
            wanted = shortened(model, self.teacher(**given).logits.roll(1, dims=1))
        learned = labels[:, 1:] != -100
        mine, theirs = (log_softmax(each[learned], -1) for each in (outputs.logits[:, :-1], wanted[:, 1:]))
        items = learned.sum() if num_items_in_batch is None else num_items_in_batch
        loss = kl_div(mine, theirs, reduction="sum", log_target=True) / items
        return (loss, outputs) if return_outputs else loss


def test_distillation_from_all_tokens(kind, tmp_path, batch):
    model = tiny.model(kind)
    teacher = tiny.model(kind).eval()
    student = hf_tokcomp.patch(copy.deepcopy(model), POOLING).eval()
    run = trainer(
        kind, tmp_path, POOLING, model, lora=small_lora(model), trainer_class=Distilled, args={"max_steps": 12}
    )
    run.teacher = teacher
    with torch.no_grad():
        wanted = teacher(**{name: value for name, value in batch.items() if name != "labels"}).logits.double()
    logits, labels = by_hand(student, batch)
    parts = []
    for row, given in enumerate(batch["labels"]):
        columns = zip((given != -100).nonzero()[:, 0] - 1, (labels[row] != -100).nonzero()[:, 0] - 1, strict=True)
        for full, short in columns:
            theirs, mine = (torch.log_softmax(each, -1) for each in (wanted[row, full], logits[row, short].double()))
            parts.append((theirs.exp() * (theirs - mine)).sum())
    assert run.evaluate(rows(4))["eval_loss"] == pytest.approx(float(torch.stack(parts).mean()), rel=1e-4)
    found = losses(run)
    assert sum(found[-3:]) < 0.9 * sum(found[:3])


def test_metrics_of_ones_own_see_short_labels(kind, tmp_path):
    """As they would be counted by hand; also over batches that differ in length, and in what `predict` returns."""
    seen = []

    def count(result):
        seen.append((result.predictions, result.label_ids))
        learned = result.label_ids[:, 1:] != -100
        return {"right": float((result.predictions[:, :-1] == result.label_ids[:, 1:])[learned].mean())}

    def best(logits, labels):
        logits = logits[0] if isinstance(logits, tuple) else logits
        assert logits.shape[:2] == labels.shape
        return logits.argmax(-1)

    model = tiny.model(kind)
    untouched = hf_tokcomp.patch(copy.deepcopy(model), POOLING).eval()
    given = {"compute_metrics": count, "preprocess_logits_for_metrics": best, "eval_dataset": rows(4)}
    run = trainer(kind, tmp_path, POOLING, model, args={"per_device_eval_batch_size": 2}, **given)
    right = []
    for two in (rows(4)[:2], rows(4)[2:]):
        logits, labels = by_hand(untouched, AudioTextCollator(plain_processor(kind), PROMPT)(two))
        learned = labels[:, 1:] != -100
        right += (logits[:, :-1].argmax(-1) == labels[:, 1:])[learned].tolist()
    expected = sum(right) / len(right)
    assert run.evaluate()["eval_right"] == pytest.approx(expected)
    predicted = run.predict(rows(4))
    assert predicted.metrics["test_right"] == pytest.approx(expected)
    assert predicted.label_ids.shape == predicted.predictions.shape
    assert [len(part) for part in seen[0]] == [4, 4]


def test_only_a_compressed_trainer_is_made(tmp_path):
    from transformers import Trainer

    with pytest.raises(TypeError, match="CompressedTrainer"):
        trainer("qwen2_audio", tmp_path, trainer_class=Trainer)
