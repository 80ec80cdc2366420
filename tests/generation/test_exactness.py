"""`none` is the unpatched model bit for bit, undo is exact, and only the patched instance changes."""

from __future__ import annotations

import pytest
import tiny
import torch

import hf_tokcomp


def generate(model, inputs, **options):
    return model.generate(**inputs, max_new_tokens=6, do_sample=False, **options)


def snapshot(model):
    keys = {k: v for k, v in model.__dict__.items() if not k.startswith("_")}
    return keys, list(model._modules), model.config.to_dict(), [n for n, _ in model.named_modules()]


def test_none_is_bit_exact(kind, model, seconds):
    inputs = tiny.inputs(kind, seconds)
    logits, ids = model(**inputs).logits, generate(model, inputs)
    hf_tokcomp.patch(model, "none")
    assert torch.equal(model(**inputs).logits, logits)
    assert torch.equal(generate(model, inputs), ids)
    last = model.audio_compressor.last
    assert last.tokens_before == last.tokens_after == ([22, 11, 1] if kind == "qwen2_audio" else [66, 12, 25])


def test_none_with_labels_and_gradients_is_bit_exact(kind, model, seconds):
    inputs = tiny.inputs(kind, seconds)
    labels = inputs["input_ids"].clone()
    loss = model(**inputs, labels=labels).loss
    hf_tokcomp.patch(model, "none")
    assert torch.equal(model(**inputs, labels=labels).loss, loss)


def test_undo_is_exact(kind, model, seconds):
    inputs = tiny.inputs(kind, seconds)
    before, logits, ids = snapshot(model), model(**inputs).logits, generate(model, inputs)
    hf_tokcomp.patch(model, "top_k")
    assert not torch.equal(generate(model, inputs), ids)
    hf_tokcomp.unpatch(model)
    assert snapshot(model) == before
    assert "forward" not in model.__dict__
    assert not [k for k in model.__dict__ if "tokcomp" in k]
    assert torch.equal(model(**inputs).logits, logits)
    assert torch.equal(generate(model, inputs), ids)


def test_unpatching_what_is_not_patched_does_nothing(model):
    before = snapshot(model)
    assert hf_tokcomp.unpatch(model) is model
    assert snapshot(model) == before


def test_patch_twice_is_patch_once(kind, model, seconds):
    inputs = tiny.inputs(kind, seconds)
    hf_tokcomp.patch(model, "ltbm")
    logits, keys = model(**inputs).logits, set(model.__dict__)
    hf_tokcomp.patch(model, "ltbm")
    assert torch.equal(model(**inputs).logits, logits)
    assert set(model.__dict__) == keys
    hf_tokcomp.patch(model, {"method": "top_k", "retention_ratio": 0.25})
    assert model.audio_compressor.config.method == "top_k"
    hf_tokcomp.unpatch(model)
    assert not hasattr(model, "audio_compressor")
    assert "forward" not in model.__dict__


def test_another_instance_is_untouched(kind, model, seconds):
    other = tiny.model(kind)
    inputs = tiny.inputs(kind, seconds)
    logits = other(**inputs).logits
    hf_tokcomp.patch(model, "top_k")
    assert torch.equal(other(**inputs).logits, logits)
    assert not hasattr(other, "audio_compressor")
    assert not hasattr(other.config, "compression_config")
    assert type(other).forward is type(model).forward
    assert tiny.model(kind).__dict__.keys() == other.__dict__.keys()


def test_the_model_shows_its_compressor(model):
    hf_tokcomp.patch(model, {"method": "ltbm", "window": 3})
    assert "(audio_compressor): LTBM(" in repr(model)
    assert "window=3" in repr(model.audio_compressor)


@pytest.mark.parametrize("before", [None, "average_pooling"])
def test_compressed_restores_after_an_exception(kind, model, seconds, before):
    inputs = tiny.inputs(kind, seconds)
    if before:
        hf_tokcomp.patch(model, before)
    module = getattr(model, "audio_compressor", None)
    logits = model(**inputs).logits

    def fail():
        with hf_tokcomp.compressed(model, "top_k") as inside:
            assert inside is model
            assert model.audio_compressor.config.method == "top_k"
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert getattr(model, "audio_compressor", None) is module
    assert torch.equal(model(**inputs).logits, logits)


def test_a_failed_patch_changes_nothing(kind, model, seconds):
    hf_tokcomp.patch(model, "average_pooling")
    module = model.audio_compressor
    with pytest.raises(hf_tokcomp.CompressionConfigError):
        hf_tokcomp.patch(model, {"method": "ltbm", "window": 0})
    assert model.audio_compressor is module


def test_full_retention_goes_through_our_path_and_agrees(kind, model, seconds):
    inputs = tiny.inputs(kind, seconds)
    logits, ids = model(**inputs).logits, generate(model, inputs)
    for positions in ("contiguous", "original"):
        hf_tokcomp.patch(model, {"method": "top_k", "retention_ratio": 1, "positions": positions})
        real = inputs["attention_mask"].bool()
        torch.testing.assert_close(model(**inputs).logits[real], logits[real], atol=2e-5, rtol=1e-4)
        assert torch.equal(generate(model, inputs), ids)
