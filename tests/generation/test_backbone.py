"""Audio that reaches the backbone past the model's own `forward`: compressed there too, in the caller's columns."""

from __future__ import annotations

import types
import warnings

import pytest
import tiny
import torch
from torch.nn.functional import cross_entropy

import hf_tokcomp
from hf_tokcomp.errors import PlaceholderMismatchError
from hf_tokcomp.models.cache_names import CACHE, cache_of

CONFIG = {"method": "top_k", "retention_ratio": 0.4}


@pytest.fixture(params=["contiguous", "original"])
def patched(request, model):
    return hf_tokcomp.patch(model, CONFIG | {"positions": request.param})


@pytest.fixture(params=["left", "right"])
def inputs(request, kind, seconds):
    return tiny.inputs(kind, seconds, side=request.param)


@pytest.fixture
def backbone(patched):
    assert patched.base_model is patched.model
    return patched.base_model


def heard(model, call):
    """What a call returns, and how many columns reached the language model."""
    columns = []
    language_model = model.model.language_model
    handle = language_model.register_forward_pre_hook(
        lambda _, args, kwargs: columns.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    try:
        return call(), columns
    finally:
        handle.remove()


def test_the_language_model_reads_the_short_prompt(patched, backbone, inputs):
    expected = patched(**inputs)
    outputs, columns = heard(patched, lambda: backbone(**inputs))
    assert columns == [expected.logits.shape[1]]
    assert sum(patched.audio_compressor.last.tokens_after) < sum(patched.audio_compressor.last.tokens_before)
    assert outputs.last_hidden_state.shape[:2] == inputs["input_ids"].shape


def test_states_stand_in_the_callers_columns(patched, backbone, inputs):
    short = patched(**inputs)
    record = patched.audio_compressor.last
    logits = patched.lm_head(backbone(**inputs).last_hidden_state)
    for row, columns in enumerate(record.columns.tolist()):
        kept = {column: place for place, column in enumerate(columns) if column >= 0}
        real = inputs["attention_mask"][row].nonzero().flatten().tolist()
        place = None
        for column in real:  # a dropped column repeats the last one before it that was kept
            place = kept.get(column, place)
            if place is not None:
                torch.testing.assert_close(logits[row, column], short.logits[row, place], atol=1e-5, rtol=1e-5)


@pytest.mark.grad
@pytest.mark.parametrize("first", [False, True], ids=["answer after text", "answer right after the audio"])
def test_a_loss_outside_the_model_is_the_models_own(kind, patched, backbone, inputs, first):
    """A head fused with its loss, as trainers have it: hidden states against the long prompt's labels."""
    ids = inputs["input_ids"]
    placeholder = patched.config.audio_token_id
    follows = (inputs["attention_mask"].cumsum(1) > 1) & inputs["attention_mask"].bool()  # the first follows nothing
    labels = torch.where(follows & (ids != placeholder), ids, -100)
    if not first:
        labels[:, : -(2 if kind == "audioflamingo3" else 3)] = -100
    own = patched(**inputs, labels=labels).loss
    states = backbone(**inputs).last_hidden_state
    loss = cross_entropy(patched.lm_head(states[:, :-1]).flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    torch.testing.assert_close(loss, own)
    own.backward()
    wanted = {n: p.grad.clone() for n, p in patched.named_parameters() if p.grad is not None}
    patched.zero_grad()
    loss.backward()
    for name, parameter in patched.named_parameters():
        if name in wanted and "lm_head" not in name:
            torch.testing.assert_close(parameter.grad, wanted[name], atol=1e-5, rtol=1e-4)


def test_a_forward_that_calls_the_backbone_itself(patched, inputs):
    """A trainer stands its own forward before ours and calls the backbone: compressed, and patching counts."""
    model = patched
    before = model(**inputs).logits

    def fused(self, fused=False, **kwargs):
        return self.lm_head(self.base_model(**kwargs).last_hidden_state) if fused else own(**kwargs)

    own = model.forward
    model.forward = types.MethodType(fused, model)
    _, columns = heard(model, lambda: model(**inputs, fused=True))
    assert columns == [before.shape[1]]
    hf_tokcomp.patch(model, CONFIG | {"retention_ratio": 0.2})
    _, fewer = heard(model, lambda: model(**inputs, fused=True))
    assert fewer[0] < columns[0]
    hf_tokcomp.unpatch(model)
    _, all_of_them = heard(model, lambda: model(**inputs, fused=True))
    assert all_of_them == [inputs["input_ids"].shape[1]]


def test_tuples(patched, backbone, inputs):
    expected = backbone(**inputs).last_hidden_state
    states, *_ = backbone(**inputs, return_dict=False)
    assert torch.equal(states, expected)


def test_positional_arguments(patched, backbone, inputs):
    expected = backbone(**inputs).last_hidden_state
    ids, features = inputs["input_ids"], inputs["input_features"]
    keywords = {k: v for k, v in inputs.items() if k not in ("input_ids", "input_features")}
    assert torch.equal(backbone(ids, features, **keywords).last_hidden_state, expected)


def test_going_on_with_the_cache(patched, backbone, inputs):
    """The cache knows the compressed prompt, and a step through the backbone equals one through the model."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    token = torch.full_like(ids[:, :1], 9)
    mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
    by_model = patched(**inputs, use_cache=True)
    wanted = patched(input_ids=token, attention_mask=mask, **{CACHE: cache_of(by_model)}, use_cache=True).logits
    by_backbone = backbone(**inputs, use_cache=True)
    step = backbone(input_ids=token, attention_mask=mask, **{CACHE: cache_of(by_backbone)}, use_cache=True)
    torch.testing.assert_close(patched.lm_head(step.last_hidden_state), wanted)


def test_under_none_it_is_upstreams(kind, model, inputs):
    expected = model.base_model(**inputs).last_hidden_state
    hf_tokcomp.patch(model, "none")
    assert torch.equal(model.base_model(**inputs).last_hidden_state, expected)
    record = model.audio_compressor.last
    assert record.tokens_before == record.tokens_after
    assert sum(record.tokens_before) == int((inputs["input_ids"] == model.config.audio_token_id).sum())


def test_text_alone_is_upstreams(kind, model):
    ids = torch.tensor([[9, 10, 11, 12]])
    expected = model.base_model(input_ids=ids).last_hidden_state
    hf_tokcomp.patch(model, CONFIG)
    assert torch.equal(model.base_model(input_ids=ids).last_hidden_state, expected)


def test_undone(kind, model, inputs):
    keys = set(model.base_model.__dict__)
    expected = model.base_model(**inputs).last_hidden_state
    with hf_tokcomp.compressed(model, CONFIG):
        model.base_model(**inputs)
    assert set(model.base_model.__dict__) == keys
    assert torch.equal(model.base_model(**inputs).last_hidden_state, expected)


def test_errors_are_those_of_forward(patched, backbone, inputs):
    cut = {name: inputs[name][:, 9:-9] for name in ("input_ids", "attention_mask")}
    with pytest.raises(PlaceholderMismatchError, match="truncated"):
        backbone(**inputs | cut)


def test_the_backbone_is_called_once_and_passes(patched, inputs):
    """What comes from our own `forward` carries no audio any more."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, columns = heard(patched, lambda: patched(**inputs))
    assert len(columns) == 1
