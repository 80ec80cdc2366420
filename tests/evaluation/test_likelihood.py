"""Options by log-likelihood: what a plain forward without any batch or compression says, and what it says under one."""

from __future__ import annotations

import pytest
import tiny
import torch
from training_tools import plain_processor

import hf_tokcomp
from hf_tokcomp.evaluation.likelihood import answer_likelihoods, option_inputs, option_likelihoods
from hf_tokcomp.training import AudioTextCollator

CHOICES = [["a", "b c d"], ["e", "f g", "a b c"]]


@pytest.fixture(params=tiny.KINDS)
def kind(request):
    return request.param


@pytest.fixture
def collator(kind):
    return AudioTextCollator(plain_processor(kind))


@pytest.fixture
def asked():
    return [
        {"audio": tiny.sound(0.9), "prompt": "what is this"},
        {"audio": tiny.sound(0.4, seed=1), "prompt": "please tell me now"},
    ]


@torch.no_grad()
def alone(model, collator, row, option):
    """One option by itself: the sum over its tokens, one by one."""
    inputs = collator([{**row, "text": option}])
    logits = model(**{name: value for name, value in inputs.items() if name != "labels"}).logits
    record = model.audio_compressor.last
    ids, labels = inputs["input_ids"][0], inputs["labels"][0]
    columns = range(len(ids)) if record.columns is None else record.columns[0].tolist()
    total = 0.0
    for place, column in enumerate(columns):
        if column >= 0 and labels[column] != -100:
            total += float(logits[0, place - 1].double().log_softmax(-1)[labels[column]])
    return total


@pytest.mark.parametrize("method", ["none", "average_pooling", "ltbm", "segmentation"])
def test_a_batch_says_what_each_option_says_alone(kind, collator, asked, method):
    model = hf_tokcomp.patch(tiny.model(kind), method)
    scores, counts = option_likelihoods(model, option_inputs(collator, asked, CHOICES), CHOICES)
    assert [len(row) for row in scores] == [2, 3]
    for row, options, found in zip(asked, CHOICES, scores, strict=True):
        expected = [alone(model, collator, row, option) for option in options]
        assert found == pytest.approx(expected, abs=2e-4)
    before, after, wanted, _ = zip(*counts, strict=True)
    assert len(before) == 2
    assert wanted == tuple(hf_tokcomp.active_config(model).budget_length(n, 25.0) for n in before)
    if method == "none":
        assert before == after
    else:
        assert all(k < n for k, n in zip(after, before, strict=True))


def test_sums_by_hand():
    logits = torch.zeros(2, 3, 4)
    logits[0, 0, 1] = 2.0
    labels = torch.tensor([[-100, 1, 3], [-100, -100, 2]])
    quarter = torch.tensor(0.25).log()
    first = torch.log_softmax(torch.tensor([0.0, 2.0, 0.0, 0.0]), -1)[1] + quarter
    torch.testing.assert_close(answer_likelihoods(logits, labels), torch.stack([first, quarter]))


def test_bfloat16_is_summed_in_full_precision():
    logits = torch.randn(1, 200, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.arange(200)[None] % 50
    exact = logits[0, :-1].double().log_softmax(-1).gather(-1, labels[0, 1:, None]).sum()
    assert float(answer_likelihoods(logits, labels)) == pytest.approx(float(exact), rel=1e-5)
