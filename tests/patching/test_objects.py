"""deepcopy, pickle into a new process, accelerate hooks before and after, and what is saved."""

from __future__ import annotations

import copy
import pickle
import sys
import threading

import pytest
import tiny
import torch
import warm
from accelerate import dispatch_model
from accelerate.hooks import remove_hook_from_module
from kinds import ragged

import hf_tokcomp

CONFIG = {"method": "top_k", "retention_ratio": 0.4}


def run(model, inputs):
    return model(**inputs).logits, model.generate(**inputs, max_new_tokens=3, do_sample=False)


def assert_same(first, second):
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_deepcopy_compresses_on_its_own(kind, model, seconds):
    inputs = tiny.inputs(kind, seconds)
    plain = run(model, inputs)
    compressed = run(hf_tokcomp.patch(model, CONFIG), inputs)
    copied = copy.deepcopy(model)
    assert_same(run(copied, inputs), compressed)
    assert copied.audio_compressor is not model.audio_compressor
    with torch.no_grad():
        copied.lm_head.weight.zero_()
    assert_same(run(model, inputs), compressed)  # the copy's functions are bound to the copy
    hf_tokcomp.unpatch(model)
    assert_same(run(model, inputs), plain)
    assert run(copied, inputs)[0].shape == compressed[0].shape
    hf_tokcomp.unpatch(copied)
    assert run(copied, inputs)[0].shape == plain[0].shape


WAYS = {
    "pickle": (lambda value, path: path.write_bytes(pickle.dumps(value)), "pickle.load(open(path, 'rb'))"),
    "torch.save": (torch.save, "torch.load(path, weights_only=False)"),
}
RELOAD = """
import pickle, sys, torch
def check(model, inputs, logits, ids):
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, logits)
        assert torch.equal(model.generate(**inputs, max_new_tokens=3, do_sample=False), ids)
    assert model.audio_compressor.last.tokens_after != model.audio_compressor.last.tokens_before
    import hf_tokcomp
    hf_tokcomp.unpatch(model)
    assert 'forward' not in model.__dict__ and not hasattr(model, 'audio_compressor')
assert 'transformers' not in sys.modules and 'hf_tokcomp' not in sys.modules
"""


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory):
    """What a new process says of every kind of model, stored in every way: one process, since starting takes longest.

    It imports nothing of ours before it loads the first.
    """
    folder = tmp_path_factory.mktemp("reloaded")
    script = RELOAD
    for kind in tiny.KINDS:
        inputs = tiny.inputs(kind, ragged(kind))
        model = hf_tokcomp.patch(tiny.model(kind), CONFIG)
        with torch.no_grad():
            stored = (model, dict(inputs), *run(model, inputs))
        for how, (store, load) in WAYS.items():
            path = folder / f"{kind} {how}"
            store(stored, path)
            script += f"path = {str(path)!r}\ncheck(*{load})\nprint({kind!r}, {how!r}, flush=True)\n"
    return warm.run(script, cwd=folder)


@pytest.mark.parametrize("how", WAYS)
def test_reloaded_in_a_new_process_it_still_compresses(kind, how, reloaded):
    assert f"{kind} {how}" in reloaded.stdout.splitlines(), reloaded.stderr


def test_accelerate_before_patching(kind, model, seconds):
    inputs = tiny.inputs(kind, seconds)
    plain = run(model, inputs)
    compressed = run(hf_tokcomp.patch(copy.deepcopy(model), CONFIG), inputs)
    dispatch_model(model, {"": "cpu"}, force_hooks=True)
    hook = model.__dict__["forward"]
    hf_tokcomp.patch(model, CONFIG)
    assert_same(run(model, inputs), compressed)
    hf_tokcomp.unpatch(model)
    assert model.__dict__["forward"] is hook
    assert_same(run(model, inputs), plain)


def test_accelerate_after_patching(kind, model, seconds):
    inputs = tiny.inputs(kind, seconds)
    plain = run(model, inputs)
    compressed = run(hf_tokcomp.patch(model, CONFIG), inputs)
    dispatch_model(model, {"": "cpu"}, force_hooks=True)
    hook = model.__dict__["forward"]
    assert_same(run(model, inputs), compressed)
    hf_tokcomp.unpatch(model)
    assert model.__dict__["forward"] is hook  # a hook that came after us stays, and is passed through
    assert_same(run(model, inputs), plain)
    hf_tokcomp.patch(model, CONFIG)  # and again, under the same hook
    assert_same(run(model, inputs), compressed)
    hf_tokcomp.patch(model, "none")
    assert_same(run(model, inputs), plain)
    hf_tokcomp.unpatch(model)
    remove_hook_from_module(model, recurse=True)
    assert_same(run(model, inputs), plain)
    assert_same(run(hf_tokcomp.patch(model, CONFIG), inputs), compressed)
    hf_tokcomp.unpatch(model)
    assert "forward" not in model.__dict__


def test_cpu_offload_after_patching(kind, model, seconds, tmp_path):
    """Weights live on disk and come for one module's call at a time."""
    inputs = tiny.inputs(kind, seconds)
    compressed = run(hf_tokcomp.patch(model, CONFIG), inputs)
    layout = {"model.audio_tower": "cpu", "model.multi_modal_projector": "disk", "model.language_model": "disk"}
    dispatch_model(
        model, layout | {"lm_head": "disk", "audio_compressor": "cpu"}, main_device="cpu", offload_dir=str(tmp_path)
    )
    assert_same(run(model, inputs), compressed)


def test_ddp_and_compiled_wrappers_are_seen_through(model):
    wrapped = torch.compile(model, backend="eager")
    assert hf_tokcomp.patch(wrapped, CONFIG) is wrapped
    assert hf_tokcomp.active_config(model).method == "top_k"
    hf_tokcomp.unpatch(wrapped)
    assert hf_tokcomp.active_config(model) is None


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_implementations_keep_the_same_tokens(kind, seconds, attention):
    """In float32 all implementations keep the same tokens, by the same scores."""
    model, other = tiny.model(kind, attention="sdpa"), tiny.model(kind, attention=attention)
    inputs = tiny.inputs(kind, seconds)
    for method in ("top_k", "segmentwise_top_k", "ltbm", "global_merge"):
        kept = []
        for m in (model, other):
            hf_tokcomp.patch(m, CONFIG | {"method": method})
            m(**inputs)
            kept.append(m.audio_compressor.last.assignment.slot)
        assert torch.equal(*kept)
    assert other.model.audio_tower.config._attn_implementation == attention
    assert model.model.audio_tower.config._attn_implementation == "sdpa"


def test_attention_received_is_the_encoders_own(kind):
    """The scores equal those of the eager attention weights, which upstream can return."""
    model = tiny.model(kind, attention="eager")
    inputs = tiny.inputs(kind, [0.87] if kind == "qwen2_audio" else [1.87])
    mask_name = "feature_attention_mask" if kind == "qwen2_audio" else "input_features_mask"
    hf_tokcomp.patch(model, CONFIG)
    seen = {}
    layer = model.model.audio_tower.layers[-1].self_attn
    layer.register_forward_hook(lambda m, args, output: seen.__setitem__("weights", output[1]))
    own = model.audio_compressor.forward
    model.audio_compressor.forward = lambda tokens: seen.__setitem__("tokens", tokens) or own(tokens)
    model(**inputs)
    expected = []
    for weights, frames in zip(seen["weights"], inputs[mask_name].sum(-1).tolist(), strict=True):
        positions = (frames - 1) // 2 + 1
        received = weights[:, :positions, :positions].sum(1).mean(0)
        tokens = positions // 2
        expected.append(received[: 2 * tokens].view(tokens, 2).mean(1))
    torch.testing.assert_close(seen["tokens"].attention[0], torch.cat(expected), atol=1e-5, rtol=1e-4)


def test_bf16_keeps_nearly_the_same_tokens(kind):
    """Ties flip in bf16: at least 95 % of the tokens are those that float32 keeps, under sdpa and eager alike."""
    kept = []
    for attention in ("sdpa", "eager"):
        model = hf_tokcomp.patch(tiny.model(kind, 30, attention).to(torch.bfloat16), CONFIG)
        inputs = tiny.inputs(kind, [29.0], window=30)
        inputs["input_features"] = inputs["input_features"].to(torch.bfloat16)
        model(**inputs)
        kept.append(set(model.audio_compressor.last.assignment.position[0].tolist()))
    assert len(kept[0] & kept[1]) >= 0.95 * len(kept[0])


def test_threads_do_not_see_each_others_scores(kind):
    """Several threads on one model, as in a server: each gets what it gets alone."""
    model = hf_tokcomp.patch(tiny.model(kind), CONFIG)
    batches = [dict(tiny.inputs(kind, [0.9 - 0.1 * i])) for i in range(4)]
    expected = [model(**batch).logits for batch in batches]
    wrong = []

    def work(index):
        with torch.no_grad():
            for _ in range(25):
                if not torch.equal(model(**batches[index]).logits, expected[index]):
                    wrong.append(index)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert wrong == []


def test_what_others_keep_in_the_config_comes_back(model):
    """`compression_config` has had other users, in quantised checkpoints."""
    model.config.compression_config = {"format": "dense"}
    hf_tokcomp.unpatch(hf_tokcomp.patch(hf_tokcomp.patch(model, "ltbm"), "top_k"))
    assert model.config.compression_config == {"format": "dense"}
