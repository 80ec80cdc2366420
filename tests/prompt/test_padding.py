"""The encoder runs the frames that hold sound, and gives what it gives for whole windows."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from hf_tokcomp.patches.whisper_encoder.forward import run_on_sound

import hf_tokcomp
from hf_tokcomp.config.encoder_options import EncoderOptions
from hf_tokcomp.models.registry import patch_for_class
from hf_tokcomp.models.windows import Windows

NEEDS = frozenset({"attention", "attention_max", "attention_peak", "attention_self", "keys"})
WHOLE = EncoderOptions(skip_padding=False)
FRAMES = [5, 6, 7, 8, 9, 10, 11, 12, 33, 34, 35, 36, 70, 95, 96, 97, 98, 99, 100]


@pytest.fixture
def encoded_frames(monkeypatch):
    """Mel frames of every call of an encoder's first convolution."""
    seen = []
    own = torch.nn.Conv1d.forward

    def watch(self, features):
        if self.stride == (1,):
            seen.append(features.shape[-1])
        return own(self, features)

    monkeypatch.setattr(torch.nn.Conv1d, "forward", watch)
    return seen


@pytest.mark.parametrize("longest", FRAMES)
def test_the_tokens_of_the_sound_are_the_same(kind, model, longest):
    patch = patch_for_class(type(model))[1]
    frames = [longest, max(4, longest // 2)]
    features = torch.randn(2, 16, 100, generator=torch.Generator().manual_seed(longest))
    mask = (torch.arange(100) < torch.tensor(frames)[:, None]).long()
    windows = Windows(features, frames, mask, [0, 0])
    whole = patch.encode(model, windows, NEEDS, WHOLE)
    part = patch.encode(model, windows, NEEDS, EncoderOptions())
    assert part.features.shape[1] < whole.features.shape[1] or longest > 94
    for row, n in enumerate(frames):
        for name in ("features", *NEEDS):
            tokens = patch.window_tokens(n)
            expected = getattr(whole, name)[row, :tokens]
            torch.testing.assert_close(getattr(part, name)[row, :tokens], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("compression", "frames"),
    [
        ({"method": "stride"}, 32),  # 30 frames, and the two that the convolutions look at
        ({"method": "stride", "skip_padding": False}, 100),
        ({"method": "none"}, 100),
        ({"method": "none", "skip_padding": True}, 32),
        ({"method": "compose", "stages": ["stride", "none"]}, 32),
        ({"method": "compose", "stages": ["stride", "none"], "skip_padding": False}, 100),
    ],
)
def test_a_short_batch_costs_its_longest_audio_where_that_is_asked_for(
    kind, model, encoded_frames, compression, frames
):
    hf_tokcomp.patch(model, compression)
    inputs = tiny.inputs(kind, [0.3, 0.21])
    model(**inputs)
    assert encoded_frames.pop() == frames


def test_uncompressed_the_encoder_is_upstreams_own(kind, model, encoded_frames):
    inputs = tiny.inputs(kind, [0.3, 0.21])
    expected = model(**inputs).logits
    hf_tokcomp.patch(model, "none")
    assert torch.equal(model(**inputs).logits, expected)
    assert encoded_frames == [100, 100]


@pytest.mark.parametrize("side", ["left", "right"])
def test_uncompressed_without_padding_the_answers_are_upstreams(kind, model, seconds, side):
    inputs = tiny.inputs(kind, seconds, side)
    expected = model(**inputs).logits
    with hf_tokcomp.compressed(model, {"method": "none", "skip_padding": True}):
        logits = model(**inputs).logits
        record = model.audio_compressor.last
        assert record.tokens_after == record.tokens_before
        assert record.columns is not None
        real = inputs["attention_mask"].bool()
        torch.testing.assert_close(record.to_prompt(logits)[real], expected[real], atol=1e-5, rtol=1e-5)
        if side == "left":
            text = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    if side == "left":
        assert torch.equal(text, model.generate(**inputs, max_new_tokens=4, do_sample=False))


def test_dropout_and_layerdrop_work_as_upstreams(kind):
    """The same random numbers in the same order: whole windows but for their last frames."""
    model = tiny.model(kind).train()
    tower = model.model.audio_tower
    tower.dropout, tower.layerdrop = 0.5, 0.5
    patch = patch_for_class(type(model))[1]
    features, mask = torch.randn(1, 16, 100), torch.ones(1, 100, dtype=torch.long)
    for seed in range(4):
        torch.manual_seed(seed)
        expected = patch.encode(model, Windows(features, [100], mask, [0]), frozenset(), WHOLE)
        torch.manual_seed(seed)
        states, _ = run_on_sound(tower, features, [100], EncoderOptions())
        torch.testing.assert_close(states, expected.features)


@pytest.mark.parametrize("method", ["stride", "ltbm", "segmentwise_top_k"])
def test_a_batch_whose_only_audio_is_empty(kind, model, method):
    """Zero samples are zero tokens: the text around them is read, and the audios beside them as they are alone."""
    hf_tokcomp.patch(model, method)
    empty = tiny.process(tiny.processor(kind), kind, [tiny.prompt(kind)], [np.zeros(0, np.float32)])
    ids = empty["input_ids"]
    assert not bool((ids == model.config.audio_token_id).any())
    logits = model(**empty).logits
    assert sum(model.audio_compressor.last.tokens_after) == 0
    assert torch.equal(logits, model(input_ids=ids).logits)
    new = model.generate(**empty, max_new_tokens=3, do_sample=False)
    assert torch.equal(new, model.generate(input_ids=ids, max_new_tokens=3, do_sample=False))
