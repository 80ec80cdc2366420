"""The patched model against the hand-written one, for every method, both models and both `positions`."""

from __future__ import annotations

import drawn
import pytest
import reference
import tiny
import torch

import hf_tokcomp

METHODS = [m for m in hf_tokcomp.methods() if m != "none"]


@pytest.mark.parametrize("positions", ["contiguous", "original"])
@pytest.mark.parametrize("method", METHODS)
def test_alone_and_in_ragged_batches(kind, seconds, method, positions):
    model = tiny.model(kind)
    config = drawn.config(method, retention_ratio=0.4, positions=positions)
    rows = reference.alone(kind, tiny.inputs(kind, seconds), seconds)
    expected = [reference.greedy(model, kind, alone, config, new=3) for alone in rows]
    hf_tokcomp.patch(model, config)
    drawn.trained(model.audio_compressor)
    for side in ("left", "right"):
        inputs = tiny.inputs(kind, seconds, side=side)
        logits = model(**inputs).logits
        ids = model.generate(**inputs, max_new_tokens=3, do_sample=False)
        assert torch.equal(ids[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
        for i, (_, new) in enumerate(expected):
            assert ids[i, inputs["input_ids"].shape[1] :].tolist() == new, (side, i)
        model(**inputs)
        last = model.audio_compressor.last
        real = last.columns >= 0
        assert real.shape == logits.shape[:2]
        for i, (first, _) in enumerate(expected):
            torch.testing.assert_close(logits[i][real[i]], first, atol=5e-5, rtol=1e-3)
