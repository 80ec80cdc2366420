"""What runs for every decoded token, and what is computed once for a prompt.

Our functions are counted by the files their code lies in, tensor operations by what reaches torch. Upstream's `forward`
returns a stored output meanwhile, so that nothing of its own is counted.
"""

from __future__ import annotations

import copy
import importlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import DynamicCache

import hf_tokcomp
from hf_tokcomp.generation.cache_guard import MEMORY
from hf_tokcomp.models.cache_names import CACHE, CACHE_NAMES, cache_of
from hf_tokcomp.models.instance import patch_of, state_of

CONFIGS = {"none": {"method": "none"}, "top_k": {"method": "top_k", "retention_ratio": 0.4}}
ROOTS = (Path(hf_tokcomp.__file__).parent, Path(importlib.import_module("hf_tokcomp.patches").__file__).parent)
STORED = object()


@pytest.fixture(params=CONFIGS)
def method(request):
    return request.param


@pytest.fixture
def patched(model, method):
    return hf_tokcomp.patch(model, CONFIGS[method])


@pytest.fixture
def compressing(model):
    return hf_tokcomp.patch(model, CONFIGS["top_k"])


@pytest.fixture
def inputs(kind, seconds):
    return tiny.inputs(kind, seconds)


def our_functions(call: Callable[[], Any]) -> list[str]:
    """Names of our functions that run during a call, in order; a comprehension with a frame of its own is one."""
    found = []

    def watch(frame, event, _):
        if event == "call" and any(root in Path(frame.f_code.co_filename).parents for root in ROOTS):
            found.append(frame.f_code.co_qualname)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(before)
    return found


class Functions(TorchFunctionMode):
    """Names and arguments of all that is asked of tensors from Python, reading their numbers too, but not of shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[Any, ...]]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = (resolve_name(func) or str(func)).rsplit(".", 1)[-1]
        if name not in ("__get__", "dim", "size"):
            self.seen.append((name, args))
        return func(*args, **(kwargs or {}))

    def on(self, tensor: torch.Tensor) -> list[str]:
        return [name for name, args in self.seen if args and args[0] is tensor]


class Operations(TorchDispatchMode):
    """Names of the operations that reach torch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def operations(call: Callable[[], Any]) -> list[str]:
    """What a call asks of tensors or does with them."""
    with Operations() as done, Functions() as asked:
        call()
    return [name for name, _ in asked.seen] + done.seen


@pytest.fixture
def stored_output(model, monkeypatch):
    """A function after which upstream's `forward` gives a stored output; it returns the list of its calls' keywords."""

    def store():
        seen = []
        monkeypatch.setattr(type(model), "forward", lambda self, *args, **kwargs: seen.append(kwargs) or STORED)
        return seen

    return store


def step_of_generate(model, inputs, monkeypatch):
    """The keywords of the last decoding step of `generate`, and the cache as it was left."""
    seen = []
    upstream = type(model).forward
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "forward", lambda self, **kwargs: seen.append(kwargs) or upstream(self, **kwargs))
        model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert len(seen) == 3
    assert seen[-1]["input_ids"].shape[1] == 1
    return seen[-1]


def test_counting_sees_what_there_is(patched, inputs):
    assert "compress_prompt" in our_functions(lambda: patched(**inputs))
    assert operations(lambda: torch.ones(2).sum().item()) != []
    assert operations(lambda: inputs["input_ids"].shape) == []
    assert operations(lambda: torch.ones(2).tolist())[-3:] != []


def test_a_step_of_generate(patched, method, inputs, monkeypatch, stored_output):
    """The counted step is `generate`'s: one id, and masks and positions in the columns of the cache, short or not."""
    step = step_of_generate(patched, inputs, monkeypatch)
    short = step[CACHE].get_seq_length() < inputs["input_ids"].shape[1]
    assert short == (method != "none")
    seen = stored_output()
    assert patched(**step) is STORED
    assert seen[0].keys() == step.keys()
    assert all(seen[0][name] is step[name] for name in step)
    assert len(our_functions(lambda: patched(**step))) <= 3
    assert operations(lambda: patched(**step)) == []


def test_a_token_more_of_generate(patched, inputs):
    """Of the whole model, the one below the head and what prepares the step included."""
    fewer, more = (
        our_functions(lambda n=n: patched.generate(**inputs, max_new_tokens=n, do_sample=False)) for n in (5, 6)
    )
    assert len(more) - len(fewer) <= 3


@pytest.mark.parametrize("name", CACHE_NAMES)
def test_a_step_by_hand_without_compression(model, inputs, stored_output, name):
    """The counted step is a loop's of one's own under `none`: the user's columns are the cache's."""
    patched = hf_tokcomp.patch(model, "none")
    cache = cache_of(patched(**inputs, use_cache=True))
    mask = torch.ones(len(inputs["input_ids"]), inputs["input_ids"].shape[1] + 1, dtype=torch.long)
    step = {"input_ids": inputs["input_ids"][:, -1:], "attention_mask": mask, name: cache, "use_cache": True}
    seen = stored_output()
    assert patched(**step) is STORED
    assert seen[0][CACHE] is cache
    assert len(our_functions(lambda: patched(**step))) <= 3
    assert operations(lambda: patched(**step)) == []


@pytest.mark.parametrize("text", [[9, 10, 11]])
def test_a_step_of_text(patched, stored_output, text):
    """The counted step is one behind a prompt without audio."""
    cache = cache_of(patched(input_ids=torch.tensor([text]), use_cache=True))
    step = {"input_ids": torch.tensor([[9]]), CACHE: cache}
    stored_output()
    assert len(our_functions(lambda: patched(**step))) <= 3
    assert operations(lambda: patched(**step)) == []


@pytest.mark.parametrize("mask", ["long", "short", "none"])
@pytest.mark.parametrize("positions", ["given", "left out"])
@pytest.mark.parametrize("name", CACHE_NAMES)
def test_a_step_by_hand_on_a_compressed_prompt(compressing, inputs, stored_output, mask, positions, name):
    """The counted step is a loop's of one's own, whose masks and positions are the user's and must be mapped.

    That takes four operations (a slice or new ones, one joined mask, a sum and where to begin); nothing is read.
    """
    cache = cache_of(compressing(**inputs, use_cache=True))
    ids = inputs["input_ids"]
    ones = torch.ones(len(ids), 1, dtype=torch.long)
    short = (compressing.audio_compressor.last.columns >= 0).long()
    step = {"input_ids": ids[:, -1:], name: cache, "use_cache": True}
    if mask != "none":
        step["attention_mask"] = torch.cat([inputs["attention_mask"] if mask == "long" else short, ones], 1)
    if positions == "given":
        step["position_ids"] = inputs["attention_mask"].sum(1, keepdim=True)
    seen = stored_output()
    assert compressing(**step) is STORED
    assert torch.equal(seen[0]["attention_mask"], torch.cat([short, ones], 1))
    assert torch.equal(seen[0]["position_ids"], cache.__dict__[MEMORY].next_position[:, None])
    assert len(our_functions(lambda: compressing(**step))) <= 3
    with Operations() as done:
        compressing(**step)
    assert len(done.seen) <= 4
    assert not any("_local_scalar_dense" in operation for operation in done.seen)


@pytest.mark.parametrize("kept", [[1, 1, 1], [0, 1, 1], [1, 0, 1]])
@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.int32, torch.float32])
def test_one_id_is_mapped_as_several_are(compressing, inputs, kept, dtype):
    """Two tokens into a loop, of which the user masks some."""
    cache = cache_of(compressing(**inputs, use_cache=True))
    memory, rows = cache.__dict__[MEMORY], len(inputs["input_ids"])
    tail = torch.tensor([kept]).expand(rows, -1)
    call = {
        "input_ids": torch.full((rows, 1), 9),
        "attention_mask": torch.cat([inputs["attention_mask"], tail], 1).to(dtype),
    }
    cached = cache.get_seq_length() + 2
    wanted = memory.continuation(call, cached, -1)
    mask, position = memory.next_token(call, cached)
    assert mask.dtype == position.dtype == torch.long
    assert torch.equal(mask, wanted.mask)
    assert torch.equal(position, wanted.positions[:, -1:])


class TestPrompts:
    """What is computed once for a prompt with audio."""

    @pytest.fixture(params=["plain", "patched"])
    def batch_for(self, request, kind, seconds):
        """Prompts of a plain processor, or those that a patched one shortened for a config."""

        def make(config):
            of = tiny.processor(kind)
            return tiny.inputs(kind, seconds, of=of if request.param == "plain" else hf_tokcomp.patch(of, config))

        return make

    @pytest.mark.parametrize("call", ["forward", "generate"])
    @pytest.mark.parametrize("name", ["none", "top_k", "average_pooling", "segmentwise_top_k", "conv_resampler"])
    def test_counts(self, model, batch_for, monkeypatch, name, call):
        options = {"method": name} if name == "none" else {"method": name, "retention_ratio": 0.4}
        patched, batch = hf_tokcomp.patch(model, options), batch_for(options)
        config, patch, lengths, windows = patched.audio_compressor.config, patch_of(patched), [], []
        count, count_window = type(config).output_length, type(patch).window_tokens
        monkeypatch.setattr(
            type(config), "output_length", lambda self, n, *a, **k: lengths.append(n) or count(self, n, *a, **k)
        )
        monkeypatch.setattr(type(patch), "window_tokens", lambda self, n: windows.append(n) or count_window(self, n))
        patched.generate(**batch, max_new_tokens=1) if call == "generate" else patched(**batch)
        before = patched.audio_compressor.last.tokens_before
        assert len(set(before)) == len(before)
        once = sorted(before)
        assert sorted(lengths) in ([once, []] if name == "none" else [once])  # which need not ask
        assert len(windows) == len(batch["input_features"])

    def test_masks(self, compressing, batch_for):
        batch = batch_for(CONFIGS["top_k"])
        with Functions() as asked:
            compressing(**batch)
        assert asked.on(batch["attention_mask"]).count("ne") == 1
        assert asked.on(batch[patch_of(compressing).feature_mask]).count("ne") == 1
        ids = asked.on(batch["input_ids"])
        assert ids.count("eq") + ids.count("__eq__") == 1

    @pytest.mark.parametrize("way", ["itself", "deepcopy", "pickle"])
    def test_the_patch(self, patched, method, batch_for, monkeypatch, way):
        """Found when the model is patched, or made from a copy; never afterwards."""
        copies = {"itself": lambda x: x, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}
        model, batch = copies[way](patched), batch_for(CONFIGS[method])
        assert patch_of(model) is patch_of(patched)
        assert type(patch_of(model)).__name__.encode() not in pickle.dumps(state_of(model).__getstate__())
        looked_up, load = [], importlib.import_module
        monkeypatch.setattr(importlib, "import_module", lambda name, *a: looked_up.append(name) or load(name, *a))
        cache = DynamicCache(config=model.config.get_text_config())
        model.generate(**batch, **{CACHE: cache}, max_new_tokens=2)
        model(input_ids=batch["input_ids"][:, -1:], **{CACHE: cache})
        assert [name for name in looked_up if name.startswith("hf_tokcomp")] == []
