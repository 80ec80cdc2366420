"""Rows that hold several samples: refused by name, since shortened they could not be told apart."""

from __future__ import annotations

import pytest
import tiny
import torch

import hf_tokcomp

CONFIG = {"method": "top_k", "retention_ratio": 1.0}


@pytest.fixture
def packed(kind):
    """One sample with audio and one of text behind it in one row, as padding-free collators make them."""
    inputs = tiny.inputs(kind, [0.9])
    text = torch.tensor([[9, 10, 11, 12]])
    ids = torch.cat([inputs["input_ids"], text], 1)
    positions = torch.cat([torch.arange(n.shape[1])[None] for n in (inputs["input_ids"], text)], 1)
    kept = {k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask")}
    return kept | {"input_ids": ids, "position_ids": positions}


def calls(model):
    return model, model.base_model, model.generate


@pytest.mark.parametrize("which", [0, 1, 2], ids=["model", "backbone", "generate"])
def test_positions_that_begin_again(kind, model, packed, which):
    hf_tokcomp.patch(model, CONFIG)
    with pytest.raises(ValueError, match=r"position_ids begin again.*packing=False and padding_free=False"):
        calls(model)[which](**packed | ({"attention_mask": None} if which < 2 else {"pad_token_id": None}))


@pytest.mark.parametrize("mask", ["ones", "numbers of the samples"])
def test_with_a_mask_too(kind, model, packed, mask):
    """Flash attention goes by the positions even then, and a mask of ones is dropped."""
    values = torch.ones_like(packed["input_ids"])
    if mask != "ones":
        values[:, -4:] = 2
    hf_tokcomp.patch(model, CONFIG)
    with pytest.raises(ValueError, match="position_ids begin again"):
        model(**packed, attention_mask=values)


@pytest.mark.parametrize("keyword", ["cu_seq_lens_q", "cu_seq_lens_k", "seq_idx"])
def test_lengths_of_samples(kind, model, packed, keyword):
    hf_tokcomp.patch(model, CONFIG)
    packed["position_ids"] = None
    with pytest.raises(ValueError, match=rf"packed into one row \({keyword}\)"):
        model(**packed, **{keyword: torch.tensor([0, 20, 24])})


def test_under_none_they_are_upstreams(kind, model, packed):
    expected = model(**packed).logits
    assert torch.equal(hf_tokcomp.patch(model, "none")(**packed).logits, expected)


def test_text_alone_is_upstreams(kind, model):
    ids, positions = torch.tensor([[9, 10, 11, 9, 10]]), torch.tensor([[0, 1, 2, 0, 1]])
    expected = model(input_ids=ids, position_ids=positions).logits
    assert torch.equal(hf_tokcomp.patch(model, CONFIG)(input_ids=ids, position_ids=positions).logits, expected)


def test_padded_rows_with_positions_are_right(kind, model, seconds):
    """Positions of a left-padded row fall at its first token; with a mask that is padding, not packing."""
    hf_tokcomp.patch(model, CONFIG)
    inputs = tiny.inputs(kind, seconds)
    mask = inputs["attention_mask"]
    positions = (mask.cumsum(1) - 1).masked_fill(mask == 0, 1)
    expected = hf_tokcomp.patch(tiny.model(kind), "none")(**inputs, position_ids=positions).logits
    logits = model(**inputs, position_ids=positions).logits
    torch.testing.assert_close(logits[mask.bool()], expected[mask.bool()], atol=2e-5, rtol=1e-4)
