"""lora_config: what is adapted, and what is saved whole."""

from __future__ import annotations

import pytest
import tiny
import torch
import toy_learned
from peft import get_peft_model
from training_tools import POOLING

import hf_tokcomp
from hf_tokcomp.training import lora_config

LAYERS = (0, 1)
LANGUAGE_MODEL = {
    f"model.language_model.layers.{i}.{name}"
    for i in LAYERS
    for name in (
        *(f"self_attn.{n}_proj" for n in "qkvo"),
        *(f"mlp.{n}_proj" for n in ("gate", "up", "down")),
    )
}
AUDIO_TOWER = {
    f"model.audio_tower.layers.{i}.{name}"
    for i in LAYERS
    for name in ("fc1", "fc2", *(f"self_attn.{n}_proj" for n in ("q", "k", "v", "out")))
}
PROJECTOR = {
    "qwen2_audio": {"model.multi_modal_projector.linear"},
    "audioflamingo3": {"model.multi_modal_projector.linear_1", "model.multi_modal_projector.linear_2"},
}


def adapted(model, config):
    """The modules with an adapter, by their names before."""
    found = get_peft_model(model, config)
    return {
        name.removeprefix("base_model.model.") for name, module in found.named_modules() if hasattr(module, "lora_A")
    }


@pytest.mark.parametrize("part", ["default", "projector", "audio_tower", "all"])
def test_what_is_adapted(kind, model, part):
    options = {
        "default": {},
        "projector": {"language_model": False, "projector": True},
        "audio_tower": {"language_model": False, "audio_tower": True},
        "all": {"projector": True, "audio_tower": True},
    }[part]
    expected = {
        "default": LANGUAGE_MODEL,
        "projector": PROJECTOR[kind],
        "audio_tower": AUDIO_TOWER,
        "all": LANGUAGE_MODEL | PROJECTOR[kind] | AUDIO_TOWER,
    }[part]
    assert adapted(model, lora_config(model, **options)) == expected


def test_defaults_and_options(model):
    config = lora_config(model)
    assert (config.r, config.lora_alpha, config.lora_dropout, config.task_type) == (16, 32, 0.05, "CAUSAL_LM")
    config = lora_config(model, r=3, lora_alpha=5, lora_dropout=0.5, use_rslora=True)
    assert (config.r, config.lora_alpha, config.lora_dropout, config.use_rslora) == (3, 5, 0.5, True)


def test_own_target_modules_take_the_place_of_the_parts(model):
    config = lora_config(model, target_modules=["q_proj"], language_model=False)
    assert adapted(model, config) == {n for n in LANGUAGE_MODEL | AUDIO_TOWER if n.endswith("q_proj")}


def test_a_compressor_is_saved_where_it_learns(model):
    assert lora_config(model).modules_to_save is None
    hf_tokcomp.patch(model, POOLING)
    assert lora_config(model).modules_to_save is None
    with toy_learned.registered():
        hf_tokcomp.patch(model, toy_learned.CONFIG)
        assert lora_config(model).modules_to_save == ["audio_compressor"]
        assert lora_config(model, modules_to_save=["lm_head"]).modules_to_save == ["audio_compressor", "lm_head"]
        peft_model = get_peft_model(model, lora_config(model))
        trained = {name for name, value in peft_model.named_parameters() if value.requires_grad}
        ours = "base_model.model.audio_compressor.modules_to_save.default.mix"
        assert {name for name in trained if "lora_" not in name} == {f"{ours}.weight", f"{ours}.bias"}
        assert lora_config(peft_model).modules_to_save == ["audio_compressor"]  # inside PEFT it is the same model


def test_errors(model):
    with pytest.raises(ValueError, match="needs a part to adapt: language_model, projector or audio_tower"):
        lora_config(model, language_model=False)
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="Supported: qwen2_audio"):
        lora_config(torch.nn.Linear(1, 1))
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="not supported"):
        lora_config(tiny.model("qwen2_audio").model.language_model)
