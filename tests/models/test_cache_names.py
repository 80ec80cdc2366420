"""The key-value cache has two names, `cache` and `past_key_values`: both are understood, whatever is installed."""

from __future__ import annotations

import warnings

import pytest
import tiny
import torch
from transformers import DynamicCache

import hf_tokcomp
from hf_tokcomp.models.cache_names import CACHE, CACHE_NAMES, cache_of


@pytest.fixture
def patched(model):
    return hf_tokcomp.patch(model, {"method": "top_k", "retention_ratio": 0.4})


@pytest.fixture
def inputs(kind, seconds):
    return tiny.inputs(kind, seconds)


@pytest.fixture(params=CACHE_NAMES)
def name(request):
    return request.param


@pytest.fixture(autouse=True)
def _no_deprecation():
    """The old name is renamed before upstream sees it, so nothing warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        yield


def test_a_loop_by_hand_equals_generate(patched, inputs, name):
    wanted = patched.generate(**inputs, max_new_tokens=4, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    cache, mask = DynamicCache(config=patched.config.get_text_config()), inputs["attention_mask"]
    out = patched(**inputs, **{name: cache}, use_cache=True)
    assert cache_of(out) is cache
    assert cache.get_seq_length() == out.logits.shape[1]
    found = [out.logits[:, -1:].argmax(-1)]
    for _ in range(3):
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        out = patched(input_ids=found[-1], attention_mask=mask, **{name: cache}, use_cache=True)
        found.append(out.logits[:, -1:].argmax(-1))
    assert torch.equal(torch.cat(found, 1), wanted)


def test_generate_goes_on(patched, inputs, name):
    wanted = patched.generate(**inputs, max_new_tokens=6, do_sample=False)
    first = patched.generate(**inputs, max_new_tokens=3, do_sample=False, return_dict_in_generate=True)
    ids = first.sequences
    mask = torch.cat([inputs["attention_mask"], torch.ones_like(ids[:, inputs["attention_mask"].shape[1] :])], 1)
    second = patched.generate(
        input_ids=ids, attention_mask=mask, **{name: cache_of(first)}, max_new_tokens=3, do_sample=False
    )
    assert torch.equal(second, wanted)


def test_a_cache_handed_to_generate_is_filled(patched, inputs, name):
    cache = DynamicCache(config=patched.config.get_text_config())
    patched.generate(**inputs, **{name: cache}, max_new_tokens=2, do_sample=False)
    assert cache.get_seq_length() == patched.audio_compressor.last.columns.shape[1] + 1


def test_prepare_inputs(patched, inputs, name):
    out = patched(**inputs, use_cache=True)
    mask = torch.cat([inputs["attention_mask"], torch.ones_like(inputs["attention_mask"][:, :1])], 1)
    ids = torch.cat([inputs["input_ids"], out.logits[:, -1:].argmax(-1)], 1)
    prepared = patched.prepare_inputs_for_generation(
        ids, next_sequence_length=1, **{name: cache_of(out)}, attention_mask=mask, use_cache=True
    )
    assert prepared[CACHE] is cache_of(out)
    assert patched(**prepared).logits.shape[1] == 1


def test_by_position(patched, inputs):
    """Positional arguments go by the installed signature."""
    import inspect

    names = list(inspect.signature(type(patched).forward).parameters)[1:]
    cache = DynamicCache(config=patched.config.get_text_config())
    args = [cache if n == CACHE else inputs.get(n) for n in names[: names.index(CACHE) + 1]]
    out = patched(*args, use_cache=True)
    assert cache_of(out) is cache
    assert torch.equal(out.logits, patched(**inputs).logits)


@pytest.mark.parametrize("call", ["forward", "generate"])
def test_both_at_once_are_refused(patched, inputs, call):
    caches = {n: DynamicCache(config=patched.config.get_text_config()) for n in CACHE_NAMES}
    with pytest.raises(ValueError, match="two names for the same argument"):
        getattr(patched, call)(**inputs, **caches)


def test_under_none_too(kind, model, inputs, name):
    hf_tokcomp.patch(model, "none")
    cache = DynamicCache(config=model.config.get_text_config())
    out = model(**inputs, **{name: cache}, use_cache=True)
    assert cache_of(out) is cache
