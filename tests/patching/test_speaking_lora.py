"""LoRA around composites: the adapter acts on text and speech, is saved and loaded, and the trained copy compresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from speaking import COMPOSITES, Speaking, speaking

import hf_tokcomp
from hf_tokcomp.training import lora_config

COMPRESSIONS = [
    {"method": "average_pooling", "retention_ratio": 0.5},
    {"method": "conv_resampler", "retention_ratio": 0.5},
]


@pytest.fixture(params=COMPOSITES)
def one(request: pytest.FixtureRequest) -> Speaking:
    return speaking(request.param)


@pytest.fixture
def inputs(one: Speaking) -> dict[str, Any]:
    return one.subject.inputs([[0.9, 0.3]])


def as_if_trained(model: Any) -> None:
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name or "audio_compressor.modules_to_save" in name:
                weight.add_(torch.randn_like(weight), alpha=0.3)


def adapted(one: Speaking, compression: Any, patched_first: bool) -> Any:
    model = one.subject.model()
    if patched_first:
        hf_tokcomp.patch(model, compression)
    wrapped = peft.get_peft_model(model, lora_config(model, projector=True))
    if not patched_first:
        hf_tokcomp.patch(wrapped, compression)
    as_if_trained(wrapped)
    return wrapped.eval()


@pytest.mark.parametrize(
    ("compression", "patched_first"), [(COMPRESSIONS[0], False), *((c, True) for c in COMPRESSIONS)]
)
def test_it_speaks_as_adapted_and_again_when_loaded(
    one: Speaking, inputs: dict[str, Any], compression: Any, patched_first: bool, tmp_path: Path
) -> None:
    base = hf_tokcomp.patch(one.subject.model(), compression)
    wanted = one.write(base, inputs)
    model = adapted(one, compression, patched_first)
    whole = model.get_base_model()
    text, sound = model.generate(**inputs, thinker_max_new_tokens=5, thinker_do_sample=False, **one.speech)
    assert torch.equal(text, one.write(model, inputs))
    assert not torch.equal(text, wanted)
    assert torch.equal(text, whole.thinker.generate(**inputs, max_new_tokens=5, do_sample=False))
    assert sound.numel()
    with model.disable_adapter():
        assert torch.equal(one.write(model, inputs), wanted)
    model.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(one.subject.model(), tmp_path / "adapter").eval()
    assert hf_tokcomp.active_config(again) == hf_tokcomp.active_config(model)
    assert torch.equal(one.write(again, inputs), text)
    hf_tokcomp.patch(one.subject.model(), "none").save_pretrained(tmp_path / "base")
    loaded = hf_tokcomp.load_adapter(tmp_path / "adapter", base=tmp_path / "base").eval()
    assert type(loaded.get_base_model()) is type(whole)
    assert torch.equal(one.write(loaded, inputs), text)
    merged = model.merge_and_unload()
    assert torch.equal(one.write(merged, inputs), text)
    hf_tokcomp.unpatch(merged)
    assert not {name for name in merged.thinker.__dict__ if "compressor" in name or name.startswith("_hf_tokcomp")}


def test_the_copy_that_is_trained_compresses(one: Speaking, inputs: dict[str, Any]) -> None:
    model = adapted(one, COMPRESSIONS[1], True)
    whole = model.get_base_model()
    copy = whole.audio_compressor.modules_to_save["default"]
    with torch.enable_grad():
        whole.thinker(**inputs).logits.sum().backward()
    assert all(weight.grad is not None for weight in copy.parameters())
    assert all(weight.grad is None for weight in whole.audio_compressor.original_module.parameters())
    assert whole.audio_compressor.last.tokens_after == whole.thinker.audio_compressor.last.tokens_after


def test_only_the_thinkers_layers_are_adapted(one: Speaking) -> None:
    model = one.subject.model()
    wrapped = peft.get_peft_model(model, lora_config(model))
    layers = {name.partition(".lora_")[0] for name, _ in wrapped.named_parameters() if ".lora_" in name}
    assert layers
    assert all(name.startswith("base_model.model.thinker.model.language_model.layers.") for name in layers)
    assert {name.rpartition(".")[2] for name in layers} >= {"q_proj", "k_proj", "v_proj", "o_proj"}
