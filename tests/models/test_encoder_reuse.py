"""reuse_encoder: one run of the encoder for several compressions, and the same answers."""

from __future__ import annotations

import pytest
import tiny
import tiny_whisper
import torch

import hf_tokcomp
from hf_tokcomp.models.encoder.reuse import reuse_encoder
from hf_tokcomp.testing import sound

METHODS = ("average_pooling", "segmentwise_top_k", "visionzip", "sa_map")


@pytest.fixture
def runs(model):
    """Counts what the encoder's last layer is called."""
    counted = []
    handle = model.model.audio_tower.layers[-1].register_forward_hook(lambda *_: counted.append(1))
    yield counted
    handle.remove()


def answer(model, inputs, method):
    with hf_tokcomp.compressed(model, method), torch.no_grad():
        logits = model(**inputs).logits
        return logits, model.generate(**inputs, max_new_tokens=3, do_sample=False)


def test_the_encoder_runs_once_and_nothing_changes(kind, model, seconds, runs):
    inputs = tiny.inputs(kind, seconds)
    alone = [answer(model, inputs, method) for method in METHODS]
    once = len(runs) // (2 * len(METHODS))
    runs.clear()
    needs = {"attention", "keys", "attention_peak", "attention_self"}
    with reuse_encoder(needs):
        shared = [answer(model, inputs, method) for method in METHODS]
    assert len(runs) == once
    for (logits, ids), (same_logits, same_ids) in zip(alone, shared, strict=True):
        assert torch.equal(logits, same_logits)
        assert torch.equal(ids, same_ids)


def test_what_a_method_needs_besides_is_encoded_anew_once(kind, model, seconds, runs):
    inputs = tiny.inputs(kind, seconds)
    with reuse_encoder():
        for method in ("average_pooling", "stride", "top_k", "average_pooling", "bottom_k"):
            answer(model, inputs, method)
    assert len(runs) == 2


def test_other_features_are_encoded(kind, model, seconds, runs):
    first, second = (tiny.inputs(kind, seconds) for _ in range(2))
    second["input_features"] = second["input_features"] * 0.5
    expected = answer(model, second, "stride")[0]
    runs.clear()
    with reuse_encoder():
        answer(model, first, "stride")
        assert torch.equal(answer(model, second, "stride")[0], expected)
    assert len(runs) == 2


@pytest.mark.grad
def test_nothing_is_kept_outside_and_where_gradients_are_computed(kind, model, seconds, runs):
    inputs = tiny.inputs(kind, seconds)
    with hf_tokcomp.compressed(model, "stride"):
        with reuse_encoder():
            model(**inputs)
            model(**inputs)
        assert len(runs) == 2
        with torch.no_grad():
            with reuse_encoder():
                model(**inputs)
            model(**inputs)
        assert len(runs) == 4


def test_one_encoding_of_the_block_before_is_not_taken(kind, model, seconds, runs):
    inputs = tiny.inputs(kind, seconds)
    for _ in range(2):
        with reuse_encoder():
            answer(model, inputs, "stride")
    assert len(runs) == 2


def test_equal_features_are_encoded_once_and_other_lengths_anew():
    """Whisper's decoding of long audio makes new tensors at every call; where the sound ends changes the scores."""
    model, processor = tiny_whisper.made(multilingual=False)
    runs = []
    model.model.encoder.layers[-1].register_forward_hook(lambda *_: runs.append(1))
    given = processor(sound(0.9, 0), sampling_rate=16_000, return_tensors="pt", return_attention_mask=True)
    longer = given["attention_mask"].clone()
    longer[:, : longer.shape[1] // 2 + 20] = 1
    alone = [answer_of(model, given["input_features"], mask) for mask in (given["attention_mask"], longer)]
    runs.clear()
    with reuse_encoder({"attention"}):
        first = answer_of(model, given["input_features"], given["attention_mask"])
        again = answer_of(model, given["input_features"].clone(), given["attention_mask"])
        other = answer_of(model, given["input_features"], longer)
    assert len(runs) == 2
    assert torch.equal(first, alone[0])
    assert torch.equal(again, alone[0])
    assert torch.equal(other, alone[1])


def answer_of(model, features, mask):
    start = torch.tensor([[model.config.decoder_start_token_id]])
    with hf_tokcomp.compressed(model, "top_k"), torch.no_grad():
        return model(input_features=features, attention_mask=mask, decoder_input_ids=start).logits
