"""Fewer positions in the encoder's layers: as many tokens, those of the definition, for every method and model."""

from __future__ import annotations

import drawn
import oracle_encoder
import pytest
import reference
import tiny
import torch
from oracles import CloseCall

import hf_tokcomp
from hf_tokcomp import CompressionConfigError
from hf_tokcomp.config.encoder_options import EncoderOptions
from hf_tokcomp.models.encoder.reuse import reuse_encoder
from hf_tokcomp.models.registry import patch_for_class
from hf_tokcomp.models.windows import Windows

NEEDS = frozenset({"attention", "attention_max", "attention_peak", "attention_self", "keys"})
OPTIONS = [{"encoder_stride": 2}, {"encoder_merge": 0.4}, {"encoder_stride": 2, "encoder_merge": 0.3}]
FRAMES = [3, 6, 7, 8, 9, 33, 34, 63, 100, 0, 2]


@pytest.mark.parametrize(
    ("encoder_layers", "stride", "merge", "skip_padding"),
    [
        (2, 1, 0.0, True),
        (2, 2, 0.0, True),
        (3, 2, 0.0, False),
        (2, 1, 0.4, False),
        (4, 1, 0.9, True),
        (3, 2, 0.4, True),
    ],
)
def test_tokens_and_attention_are_those_of_the_slow_version(kind, encoder_layers, stride, merge, skip_padding):
    model = tiny.model(kind, encoder_layers=encoder_layers)
    patch = patch_for_class(type(model))[1]
    features = torch.randn(len(FRAMES), 16, 100, generator=torch.Generator().manual_seed(7))
    mask = (torch.arange(100) < torch.tensor(FRAMES)[:, None]).long()
    options = EncoderOptions(skip_padding, stride, merge)
    encoded = patch.encode(model, Windows(features, FRAMES, mask, [0] * len(FRAMES)), NEEDS, options)
    close_calls = 0
    for row, frames in enumerate(FRAMES):
        try:
            expected = oracle_encoder.encode(model.model.audio_tower, features[row], frames, stride, merge)
        except CloseCall:
            close_calls += 1
            continue
        tokens = patch.window_tokens(frames)
        for name in ("features", *NEEDS):
            got = getattr(encoded, name)[row, :tokens]
            assert len(got) == tokens
            torch.testing.assert_close(got, expected[name][:tokens].to(got), atol=2e-5, rtol=2e-5)
    assert close_calls < 2


def test_the_layers_see_fewer_positions(kind):
    model = tiny.model(kind, encoder_layers=3)
    seen = []
    for layer in model.model.audio_tower.layers:
        layer.self_attn.k_proj.register_forward_hook(lambda *call: seen.append(call[2].shape[1]))
    inputs = tiny.inputs(kind, [1.0])
    for options, expected in [
        ({}, [50, 50, 50]),
        ({"encoder_stride": 2}, [25, 25, 25]),
        ({"encoder_merge": 0.5}, [50, 38, 25]),
        ({"encoder_merge": 0.9}, [50, 28, 14]),  # a round merges half of what is there at most
        ({"encoder_merge": 0.4, "encoder_stride": 2}, [25, 20, 15]),
    ]:
        seen.clear()
        with hf_tokcomp.compressed(model, {"method": "none", **options}):
            model(**inputs)
            record = model.audio_compressor.last
        assert seen == expected
        assert record.tokens_after == record.tokens_before == [25]


@pytest.mark.parametrize(("number", "method"), list(enumerate(drawn.METHODS)))
def test_every_method_works_on_it_alone_as_in_a_batch(kind, model, seconds, number, method):
    """The count is the budget's, and `generate` agrees with `forward`; the rows are those of each audio alone."""
    options = OPTIONS[(number + tiny.KINDS.index(kind)) % len(OPTIONS)]
    config = drawn.config(method, retention_ratio=0.4, positions="original", **options)
    batch = tiny.inputs(kind, seconds)
    hf_tokcomp.patch(model, config)
    drawn.trained(model.audio_compressor)
    logits = model(**batch).logits
    record = model.audio_compressor.last
    if config.deterministic_length:
        assert record.tokens_after == [config.output_length(n) for n in record.tokens_before]
    texts = model.generate(**batch, max_new_tokens=1, do_sample=False)
    assert torch.equal(texts[:, batch["input_ids"].shape[1]], logits[:, -1].argmax(-1))
    plain = config.replace(encoder_stride=1, encoder_merge=0.0)
    with hf_tokcomp.compressed(model, plain):
        drawn.trained(model.audio_compressor)
        assert not torch.allclose(model(**batch).logits[:, -1], logits[:, -1])
    for row, alone in enumerate(reference.alone(kind, batch, seconds)):
        torch.testing.assert_close(model(**alone).logits[0, -1], logits[row, -1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("options", OPTIONS)
def test_right_padding_and_short_prompts_give_the_same(kind, model, seconds, options):
    config = hf_tokcomp.CompressionConfig(method="segmentwise_top_k", retention_ratio=0.4, **options)
    hf_tokcomp.patch(model, config)
    left = model(**tiny.inputs(kind, seconds)).logits[:, -1]
    batch = tiny.inputs(kind, seconds, "right")
    last = model(**batch).logits
    ends = (model.audio_compressor.last.columns >= 0).sum(1) - 1
    torch.testing.assert_close(last[torch.arange(len(seconds)), ends], left, atol=1e-5, rtol=1e-5)
    short = tiny.inputs(kind, seconds, of=hf_tokcomp.patch(tiny.processor(kind), config))
    assert short["input_ids"].shape[1] < batch["input_ids"].shape[1]
    torch.testing.assert_close(model(**short).logits[:, -1], left, atol=1e-5, rtol=1e-5)


@pytest.mark.grad
@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_flow_to_the_encoder_and_training_works(kind, model, seconds, options):
    hf_tokcomp.patch(model, {"method": "average_pooling", **options})
    batch = tiny.inputs(kind, seconds)
    model.train()
    model(**batch, labels=batch["input_ids"]).loss.backward()
    for name, parameter in model.model.audio_tower.named_parameters():
        if parameter.requires_grad and "k_proj.bias" not in name:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_eager_attention(kind, seconds, attention, dtype):
    model = tiny.model(kind, attention=attention)
    batch = tiny.inputs(kind, seconds)
    compression = {"method": "top_k", "encoder_merge": 0.4}
    with hf_tokcomp.compressed(model, compression):
        expected = model(**batch).logits[:, -1]
    with hf_tokcomp.compressed(tiny.model(kind), compression) as other:
        torch.testing.assert_close(other(**batch).logits[:, -1], expected, atol=1e-4, rtol=1e-4)
    model.to(dtype)
    with hf_tokcomp.compressed(model, compression):
        assert model(**batch.to(dtype)).logits.isfinite().all()


def test_the_encoding_is_not_shared_by_other_options(kind, model, seconds):
    batch = tiny.inputs(kind, seconds)
    compressions = [{"method": "stride"}, *({"method": "stride", **options} for options in OPTIONS)]
    compressions += [{"method": "stride", "skip_padding": False}, {"method": "none", "encoder_stride": 2}]

    def answers():
        for compression in compressions:
            with hf_tokcomp.compressed(model, compression):
                yield model(**batch).logits

    with reuse_encoder():
        shared = list(answers())
    for one, other in zip(shared, answers(), strict=True):
        assert torch.equal(one, other)


def test_what_cannot_be_is_refused_and_nothing_is_patched(kind, model, monkeypatch):
    merge = {"method": "stride", "encoder_merge": 0.2}
    with pytest.raises(CompressionConfigError, match="two layers or more"):
        hf_tokcomp.patch(tiny.model(kind, encoder_layers=1), merge)
    tower = model.model.audio_tower
    with monkeypatch.context() as patched:
        patched.setattr(tower, "layerdrop", 0.1)
        hf_tokcomp.patch(model, merge)  # in training only
        model.train()
        with pytest.raises(CompressionConfigError, match="encoder_layerdrop = 0"):
            model(**tiny.inputs(kind, [0.5]))
        model.eval()
    hf_tokcomp.unpatch(model)
    with monkeypatch.context() as patched:
        patched.setattr(tower.config, "_attn_implementation", "flash_attention_2")
        with pytest.raises(CompressionConfigError, match=r"'flash_attention_2' cannot.*'sdpa'"):
            hf_tokcomp.patch(model, merge)
    with monkeypatch.context() as patched:
        patch = type(patch_for_class(type(model))[1])
        patched.setattr(patch, "check_encoder", hf_tokcomp.models.base.ModelPatch.check_encoder)
        with pytest.raises(CompressionConfigError, match=f"{kind}.*offers neither"):
            hf_tokcomp.patch(model, {"method": "stride", "encoder_stride": 2})
        hf_tokcomp.patch(model, {"method": "stride"})
        hf_tokcomp.unpatch(model)
    assert not hasattr(model, "audio_compressor")
