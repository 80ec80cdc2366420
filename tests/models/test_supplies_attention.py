"""A patched model supplies each field that a method may ask for, as the slow way makes it of the real projections."""

from __future__ import annotations

import math

import pytest
import tiny
import torch
from attention_reference import matrices, reduced

import hf_tokcomp

FIELDS = ("attention", "attention_max", "attention_peak", "attention_self", "keys")
CONFIG = {"method": "top_k", "retention_ratio": 0.5}


def supplied(model, inputs, fields):
    """What the compressor of a patched model is given, and the last layer's queries and keys."""
    hf_tokcomp.patch(model, CONFIG)
    compressor = model.audio_compressor
    seen = {}

    def look(tokens):
        seen["tokens"] = tokens
        return own(
            hf_tokcomp.AudioTokens(tokens.features, tokens.lengths, attention=torch.ones_like(tokens.mask * 1.0))
        )

    own, compressor.forward = compressor.forward, look
    compressor.requires = frozenset(fields)
    layer = model.model.audio_tower.layers[-1].self_attn
    hooks = [
        getattr(layer, name).register_forward_hook(lambda m, args, output, name=name: seen.__setitem__(name, output))
        for name in ("q_proj", "k_proj")
    ]
    model(**inputs)
    for hook in hooks:
        hook.remove()
    return seen["tokens"], seen["q_proj"], seen["k_proj"]


def tokens_of_window(field, query, key, heads):
    """One field of one window without padding, ``(tokens, ...)``."""
    pairs = [slice(2 * j, 2 * j + 2) for j in range(len(key) // 2)]
    if field == "keys":
        by_head = key.double().unflatten(-1, (heads, -1)).mean(1)
        return torch.stack([by_head[pair].mean(0) for pair in pairs])
    attention = matrices(query, key, heads, (query.shape[1] // heads) ** -0.5)
    if field == "attention_self":
        return reduced(attention, "self")
    if field == "attention_peak":  # every two queries averaged, every two keys summed; a single query counts half
        peak = attention.amax(0)
        return torch.stack([peak[:, pair].sum() / 2 for pair in pairs])
    received = reduced(attention, "max" if field == "attention_max" else "mean")
    return torch.stack([received[pair].mean() for pair in pairs])


@pytest.mark.parametrize("field", FIELDS)
def test_equals_the_slow_way(kind, seconds, field):
    inputs = tiny.inputs(kind, seconds)
    model = tiny.model(kind)
    tokens, query, key = supplied(model, inputs, {field})
    heads = model.model.audio_tower.layers[-1].self_attn.num_heads
    frames = inputs["feature_attention_mask" if kind == "qwen2_audio" else "input_features_mask"].sum(-1)
    positions = ((frames - 1) // 2 + 1).tolist()
    assert any(n % 2 for n in positions), "an odd end must be among them"
    windows = [tokens_of_window(field, query[w, :n], key[w, :n], heads) for w, n in enumerate(positions)]
    first = 0
    for row, length in enumerate(seconds):
        count = 1 if kind == "qwen2_audio" else math.ceil(length)
        expected = torch.cat(windows[first : first + count])
        first += count
        assert len(expected) == tokens.counts[row]
        out = getattr(tokens, field)[row, : len(expected)]
        assert out.dtype == torch.float32
        torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=1e-5)
    assert first == len(windows)


@pytest.mark.parametrize("asked", [(), *[(field,) for field in FIELDS], FIELDS])
def test_supplies_what_was_asked_for_and_nothing_else(kind, asked):
    tokens, _, _ = supplied(tiny.model(kind), tiny.inputs(kind, [0.5]), asked)
    assert {field for field in FIELDS if getattr(tokens, field) is not None} == set(asked)


def test_fields_differ(kind):
    """The three kinds of attention received are three things, in order: the mean, the largest head, the peaks."""
    tokens, _, _ = supplied(tiny.model(kind), tiny.inputs(kind, [0.9]), FIELDS)
    assert (tokens.attention < tokens.attention_max).all()
    assert (tokens.attention_max < tokens.attention_peak).all()
    assert (tokens.attention_self > 0).all()
    assert (tokens.attention_self < 1).all()
