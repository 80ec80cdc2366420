"""What wraps, unwraps and rebinds a model's `forward` finds it compressed afterwards, as before."""

from __future__ import annotations

import copy
import inspect
import pickle
import types

import pytest
import tiny
import torch
from accelerate import Accelerator, dispatch_model
from accelerate.hooks import remove_hook_from_module
from accelerate.state import AcceleratorState

import hf_tokcomp

CONFIG = {"method": "top_k", "retention_ratio": 0.4}


@pytest.fixture(autouse=True)
def _no_accelerator_yet():
    """Its precision is decided once in a process, and other tests have accelerators, too."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def inputs(kind, seconds):
    return tiny.inputs(kind, seconds)


@pytest.fixture
def expected(kind, inputs):
    model = hf_tokcomp.patch(tiny.model(kind), CONFIG)
    return model(**inputs).logits


def test_patched_then_prepared(kind, model, inputs, expected):
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    prepared = accelerator.prepare(hf_tokcomp.patch(model, CONFIG))
    assert prepared(**inputs).logits.shape == expected.shape
    model = accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
    assert torch.equal(model(**inputs).logits, expected)
    model.generate(**inputs, max_new_tokens=1)
    assert model.audio_compressor.last.columns.shape[1] == expected.shape[1]
    hf_tokcomp.unpatch(model)
    assert "forward" not in model.__dict__
    assert model(**inputs).logits.shape[1] == inputs["input_ids"].shape[1]


def test_prepared_then_patched(kind, model, inputs, expected):
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    prepared = hf_tokcomp.patch(accelerator.prepare(model), CONFIG)
    model = accelerator.unwrap_model(prepared, keep_fp32_wrapper=False)
    logits = model(**inputs).logits
    assert logits.shape == expected.shape
    torch.testing.assert_close(logits, expected, atol=0.2, rtol=0.1)  # the original forward is still under autocast
    hf_tokcomp.unpatch(model)
    assert model(**inputs).logits.shape[1] == inputs["input_ids"].shape[1]


def test_kept_wrapper(kind, model, inputs, expected):
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    prepared = accelerator.prepare(hf_tokcomp.patch(model, CONFIG))
    assert accelerator.unwrap_model(prepared)(**inputs).logits.shape == expected.shape


@pytest.mark.parametrize(
    "rebind",
    [
        lambda model: types.MethodType(inspect.unwrap(model.forward), model),
        lambda model: types.MethodType(model.forward, model),
        lambda model: inspect.unwrap(model.forward),
    ],
    ids=["unwrapped and bound", "bound once more", "unwrapped"],
)
@pytest.mark.parametrize("which", ["model", "backbone"])
def test_rebound(kind, model, inputs, expected, rebind, which):
    hf_tokcomp.patch(model, CONFIG)
    target = model if which == "model" else model.base_model
    target.forward = rebind(target)
    assert torch.equal(model(**inputs).logits, expected)
    hf_tokcomp.patch(model, CONFIG)  # anew
    assert torch.equal(model(**inputs).logits, expected)
    hf_tokcomp.unpatch(model)
    assert "forward" not in target.__dict__
    assert model(**inputs).logits.shape[1] == inputs["input_ids"].shape[1]


@pytest.mark.parametrize(
    "name", ["forward", "generate", "prepare_inputs_for_generation", "save_pretrained", "push_to_hub"]
)
def test_signatures_are_upstreams(kind, model, name):
    upstream = inspect.signature(getattr(model, name))
    hf_tokcomp.patch(model, CONFIG)
    ours = inspect.signature(getattr(model, name))
    assert list(ours.parameters) == list(upstream.parameters)
    assert [p.default for p in ours.parameters.values()] == [p.default for p in upstream.parameters.values()]
    assert getattr(model, name).__name__ == name


@pytest.mark.parametrize("way", ["pickle", "deepcopy"])
def test_copies_are_bound_to_themselves(kind, model, inputs, expected, way):
    hf_tokcomp.patch(model, CONFIG)
    copied = pickle.loads(pickle.dumps(model)) if way == "pickle" else copy.deepcopy(model)
    assert copied.forward.instance is copied
    assert copied.base_model.forward.instance is copied.base_model
    hf_tokcomp.unpatch(model)
    assert torch.equal(copied(**inputs).logits, expected)
    assert copied.base_model(**inputs).last_hidden_state.shape[1] == inputs["input_ids"].shape[1]
    assert copied.audio_compressor.last.columns.shape[1] == expected.shape[1]
    hf_tokcomp.unpatch(copied)
    assert copied(**inputs).logits.shape[1] == inputs["input_ids"].shape[1]


class TestShallowCopies:
    """`copy.copy` of a model shares its modules: what is done to one would be done to the other."""

    def test_of_a_patched_model(self, kind, model, inputs, expected):
        hf_tokcomp.patch(model, CONFIG)
        shallow = copy.copy(model)
        for change in (hf_tokcomp.unpatch, lambda m: hf_tokcomp.patch(m, "none")):
            with pytest.raises(ValueError, match="shallow copy"):
                change(shallow)
        with pytest.raises(ValueError, match="shallow copy"), hf_tokcomp.compressed(shallow, "none"):
            pass
        for each in (model, shallow):
            assert torch.equal(each(**inputs).logits, expected)
        hf_tokcomp.unpatch(model)
        assert model(**inputs).logits.shape[1] == inputs["input_ids"].shape[1]

    def test_of_an_unpatched_model(self, kind, model, inputs, expected):
        shallow = copy.copy(model)
        hf_tokcomp.patch(shallow, CONFIG)
        for change in (hf_tokcomp.unpatch, lambda m: hf_tokcomp.patch(m, CONFIG)):
            with pytest.raises(ValueError, match="shallow copy"):
                change(model)
        assert torch.equal(shallow(**inputs).logits, expected)
        hf_tokcomp.unpatch(shallow)
        assert torch.equal(hf_tokcomp.patch(model, CONFIG)(**inputs).logits, expected)

    def test_of_a_processor(self, kind):
        processor = tiny.processor(kind)
        long = tiny.inputs(kind, [0.9], of=processor)["input_ids"].shape[1]
        hf_tokcomp.patch(processor, CONFIG)
        shallow = copy.copy(processor)
        hf_tokcomp.unpatch(shallow)
        assert hf_tokcomp.active_config(shallow) is None
        assert tiny.inputs(kind, [0.9], of=shallow)["input_ids"].shape[1] == long
        assert hf_tokcomp.active_config(processor) is not None
        assert tiny.inputs(kind, [0.9], of=processor)["input_ids"].shape[1] < long
        hf_tokcomp.unpatch(processor)
        assert tiny.inputs(kind, [0.9], of=processor)["input_ids"].shape[1] == long


class TestBlocksLeftInAnyOrder:
    def test_of_a_model(self, kind, model, inputs):
        first, second = (hf_tokcomp.compressed(model, CONFIG | {"retention_ratio": r}) for r in (0.4, 0.2))
        first.__enter__()
        second.__enter__()
        inner = hf_tokcomp.active_config(model)
        first.__exit__(None, None, None)
        assert hf_tokcomp.active_config(model) == inner
        second.__exit__(None, None, None)
        assert hf_tokcomp.active_config(model) is None
        assert not hasattr(model, "audio_compressor")
        assert model(**inputs).logits.shape[1] == inputs["input_ids"].shape[1]

    def test_three_on_a_patched_model(self, kind, model):
        hf_tokcomp.patch(model, "stride")
        own, compressor = hf_tokcomp.active_config(model), model.audio_compressor
        blocks = [hf_tokcomp.compressed(model, CONFIG | {"retention_ratio": r}) for r in (0.5, 0.4, 0.2)]
        for block in blocks:
            block.__enter__()
        for left, ratio in ((1, 0.2), (2, 0.5), (0, None)):
            blocks[left].__exit__(None, None, None)
            assert ratio is None or hf_tokcomp.active_config(model).retention_ratio == ratio
        assert hf_tokcomp.active_config(model) == own
        assert model.audio_compressor is compressor

    def test_of_a_processor(self, kind):
        processor = tiny.processor(kind)
        first, second = hf_tokcomp.compressed(processor, CONFIG), hf_tokcomp.compressed(processor, "none")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert hf_tokcomp.active_config(processor) is None


class TestHooks:
    """accelerate's hooks go by a name of their own; put on, changed or taken off, the model stays compressed."""

    @pytest.fixture(params=[{"": "cpu"}, {"model": "cpu", "lm_head": "cpu"}], ids=["root", "parts"])
    def dispatched(self, request, model):
        return self.dispatch(model, request.param)

    @staticmethod
    def dispatch(model, places):
        return dispatch_model(model, device_map=places, main_device="cpu", force_hooks=True)

    def test_put_on_again(self, kind, dispatched, inputs, expected):
        hf_tokcomp.patch(dispatched, CONFIG)
        for _ in range(2):
            assert torch.equal(dispatched(**inputs).logits, expected)
            self.dispatch(dispatched, {"model": "cpu", "lm_head": "cpu"})
        hf_tokcomp.patch(dispatched, CONFIG)
        assert torch.equal(dispatched(**inputs).logits, expected)
        hf_tokcomp.unpatch(dispatched)
        assert dispatched(**inputs).logits.shape[1] == inputs["input_ids"].shape[1]

    def test_taken_off(self, kind, dispatched, inputs, expected):
        hf_tokcomp.patch(dispatched, CONFIG)
        remove_hook_from_module(dispatched, recurse=True)
        assert torch.equal(dispatched(**inputs).logits, expected)
        assert torch.equal(hf_tokcomp.patch(dispatched, CONFIG)(**inputs).logits, expected)
        hf_tokcomp.unpatch(dispatched)
        assert dispatched(**inputs).logits.shape[1] == inputs["input_ids"].shape[1]
        assert "audio_compressor" not in dict(dispatched.named_children())

    def test_put_on_a_patched_model_and_taken_off(self, kind, model, inputs, expected):
        self.dispatch(hf_tokcomp.patch(model, CONFIG), {"": "cpu"})
        assert torch.equal(model(**inputs).logits, expected)
        remove_hook_from_module(model, recurse=True)
        assert torch.equal(model(**inputs).logits, expected)
        hf_tokcomp.unpatch(model)
        assert model(**inputs).logits.shape[1] == inputs["input_ids"].shape[1]


def test_a_forward_of_ones_own_that_goes_again(kind, model, inputs, expected):
    """What held ours is gone, so patching anew places it anew."""
    hf_tokcomp.patch(model, CONFIG)
    own = model.forward
    model.forward = types.MethodType(lambda _, *args, **kwargs: own(*args, **kwargs), model)
    hf_tokcomp.unpatch(model)
    del model.forward
    assert torch.equal(hf_tokcomp.patch(model, CONFIG)(**inputs).logits, expected)


def test_upstreams_own_forward_in_its_place(kind, model, inputs):
    """Past ours, the backbone still compresses; logits and loss are in the columns of the whole prompt."""
    labels = torch.where(inputs["attention_mask"].cumsum(1) > 1, inputs["input_ids"], -100)
    labels = labels.masked_fill(labels == model.config.audio_token_id, -100)
    wanted = hf_tokcomp.patch(model, CONFIG)(**inputs, labels=labels).loss
    found = type(model).forward(model, **inputs, labels=labels)
    assert found.logits.shape[1] == inputs["input_ids"].shape[1]
    torch.testing.assert_close(found.loss, wanted)
