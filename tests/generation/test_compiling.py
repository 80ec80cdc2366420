"""Static caches and `torch.compile`: right, and a decoding step is one graph that is compiled once."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch._dynamo.utils import counters
from transformers import CompileConfig

import hf_tokcomp

CONFIG = {"method": "top_k", "retention_ratio": 0.4}
GREEDY = {"max_new_tokens": 6, "do_sample": False}


@pytest.fixture(autouse=True)
def _nothing_compiled():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture
def patched(model):
    return hf_tokcomp.patch(model, CONFIG)


@pytest.fixture
def inputs(kind, seconds):
    return tiny.inputs(kind, seconds)


def compiled_everywhere():
    """What `generate` compiles its decoding steps with on a GPU, here too."""
    config = CompileConfig(backend="eager")
    config._compile_all_devices = True
    return config


@pytest.mark.parametrize("positions", ["contiguous", "original"])
def test_static_cache(patched, inputs, positions):
    hf_tokcomp.patch(patched, CONFIG | {"positions": positions})
    expected = patched.generate(**inputs, **GREEDY)
    assert torch.equal(patched.generate(**inputs, **GREEDY, cache_implementation="static"), expected)


def test_a_decoding_step_is_one_graph(kind, patched, inputs):
    expected = patched.generate(**inputs, **GREEDY)
    options = GREEDY | {"cache_implementation": "static", "compile_config": compiled_everywhere()}
    assert torch.equal(patched.generate(**inputs, **options), expected)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    assert torch.equal(patched.generate(**inputs, **options), expected)
    assert counters["stats"]["unique_graphs"] == 1, "the second call compiled anew"


def test_a_compiled_forward(kind, patched, inputs):
    expected = patched.generate(**inputs, **GREEDY)
    patched.forward = torch.compile(patched.forward, backend="eager")
    assert torch.equal(patched.generate(**inputs, **GREEDY), expected)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    assert torch.equal(patched.generate(**inputs, **GREEDY), expected)
    assert counters["stats"]["unique_graphs"] == graphs, "the second call compiled anew"


def test_a_compiled_model(kind, patched, inputs):
    """Compression itself runs as it is: it reads counts from the device, and puts hooks on the encoder."""
    expected = patched(**inputs).logits
    compiled = torch.compile(patched, backend="eager")
    torch.testing.assert_close(compiled(**inputs).logits, expected)
    assert counters["stats"]["unique_graphs"] > 0
