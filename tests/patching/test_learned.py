"""A compressor that learns: its weights in whole checkpoints, and when a model is patched again."""

from __future__ import annotations

import json
import logging

import pytest
import tiny
import torch
import toy_learned
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

import hf_tokcomp
from hf_tokcomp import CompressionConfig

CONFIG = toy_learned.CONFIG


@pytest.fixture(scope="module", autouse=True)
def _toy():
    with toy_learned.registered():
        yield


@pytest.fixture
def cls(kind):
    return getattr(transformers, hf_tokcomp.supported_models()[kind].model_classes[0])


@pytest.fixture
def trained(kind):
    model = hf_tokcomp.patch(tiny.model(kind), CONFIG)
    toy_learned.stir(model.audio_compressor)
    return model


def same_weights(compressor, expected):
    values = compressor.state_dict()
    assert set(values) == set(expected)
    return all(torch.equal(values[name], value.to(values[name].dtype)) for name, value in expected.items())


def generate(model, kind, seconds):
    return model.generate(**tiny.inputs(kind, seconds), max_new_tokens=3, do_sample=False)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"device_map": "cpu"},
        {"dtype": torch.bfloat16},
        {"compression": CONFIG},
        {"output_loading_info": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("shards", ["1GB", "40KB"])
def test_the_weights_come_back(kind, cls, trained, seconds, tmp_path, options, shards, caplog):
    trained.save_pretrained(tmp_path, max_shard_size=shards)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shards == "40KB")
    loaded = cls.from_pretrained(tmp_path, **options)
    if "output_loading_info" in options:
        loaded, info = loaded
        assert not info["unexpected_keys"]
    assert same_weights(loaded.audio_compressor, trained.audio_compressor.state_dict())
    assert not [r for r in caplog.records if r.name.startswith("hf_tokcomp")]
    if loaded.dtype == torch.float32:
        assert torch.equal(generate(loaded, kind, seconds), generate(trained, kind, seconds))
    else:
        assert {p.dtype for p in loaded.audio_compressor.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("shards", ["1GB", "40KB"])
def test_of_a_variant(kind, cls, trained, tmp_path, shards):
    trained.save_pretrained(tmp_path, variant="fp16", max_shard_size=shards)
    loaded = cls.from_pretrained(tmp_path, variant="fp16")
    assert same_weights(loaded.audio_compressor, trained.audio_compressor.state_dict())


def test_a_model_from_nowhere_takes_no_weights_from_here(kind, cls, trained, tmp_path, monkeypatch, caplog):
    trained.save_pretrained(tmp_path)
    monkeypatch.chdir(tmp_path)
    plain = tiny.model(kind)
    made = cls.from_pretrained(None, config=plain.config, state_dict=plain.state_dict(), compression=CONFIG)
    assert "newly initialized" in caplog.text
    assert not same_weights(made.audio_compressor, trained.audio_compressor.state_dict())


def test_with_another_budget_they_stay(kind, cls, trained, tmp_path, caplog):
    trained.save_pretrained(tmp_path)
    other = cls.from_pretrained(tmp_path, compression=CONFIG | {"retention_ratio": 0.2})
    assert other.audio_compressor.config.retention_ratio == 0.2
    assert same_weights(other.audio_compressor, trained.audio_compressor.state_dict())
    assert "is replaced by the given" in caplog.text


def test_with_another_method_it_is_an_error(kind, cls, trained, tmp_path):
    trained.save_pretrained(tmp_path)
    for given in ("stride", CONFIG | {"dim": 16}):
        with pytest.raises(hf_tokcomp.CompressorWeightsError, match=r"do not fit"):
            cls.from_pretrained(tmp_path, compression=given)


def test_none_leaves_them_out_aloud(kind, cls, trained, seconds, tmp_path, caplog):
    trained.save_pretrained(tmp_path)
    plain = cls.from_pretrained(tmp_path, compression=None)
    assert "is ignored because of compression=None" in caplog.text
    assert hf_tokcomp.active_config(plain) is None
    assert torch.equal(generate(plain, kind, seconds), generate(tiny.model(kind), kind, seconds))


def test_missing_weights_are_named(kind, cls, tmp_path, caplog):
    tiny.model(kind).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values["compression_config"] = CompressionConfig.from_dict(CONFIG).to_dict()
    (tmp_path / "config.json").write_text(json.dumps(values))
    cls.from_pretrained(tmp_path)
    assert "newly initialized" in caplog.text


def test_the_checkpoint_loads_plain(kind, cls, trained, tmp_path):
    """Without us: the compressor's weights are unexpected, and nothing else is."""
    trained.save_pretrained(tmp_path)
    hf_tokcomp.uninstall()
    try:
        plain, info = cls.from_pretrained(tmp_path, output_loading_info=True)
    finally:
        hf_tokcomp.install()
    assert set(info["unexpected_keys"]) == {"audio_compressor." + n for n in trained.audio_compressor.state_dict()}
    assert not hasattr(plain, "audio_compressor")
    assert {n for n in load_file(tmp_path / "model.safetensors") if "audio_compressor" in n} == set(
        info["unexpected_keys"]
    )


def test_patching_again_with_an_equal_config_keeps_the_weights(kind, trained, caplog):
    compressor, expected = trained.audio_compressor, dict(trained.audio_compressor.state_dict())
    hf_tokcomp.patch(trained, CompressionConfig.from_dict(CONFIG))
    assert trained.audio_compressor is compressor
    assert same_weights(compressor, expected)
    assert compressor.last is None
    assert not caplog.records


def test_patching_again_keeps_what_peft_trains(kind, trained):
    config = LoraConfig(target_modules=r".*language_model.*q_proj", modules_to_save=["audio_compressor"])
    model = get_peft_model(trained, config)
    wrapper = trained.audio_compressor
    hf_tokcomp.patch(model, CONFIG)
    assert trained.audio_compressor is wrapper
    assert "default" in wrapper.modules_to_save


def test_patching_again_with_another_says_what_is_lost(kind, trained, caplog):
    hf_tokcomp.patch(trained, "stride")
    assert trained.audio_compressor.config.method == "stride"
    assert "'toy_resampler'" in caplog.text
    caplog.clear()
    hf_tokcomp.patch(trained, "top_k")
    assert not caplog.records


@pytest.mark.parametrize("inside", ["stride", CONFIG, CONFIG | {"retention_ratio": 0.2}], ids=str)
def test_a_block_gives_the_very_compressor_back(kind, trained, seconds, inside, caplog):
    compressor, expected = trained.audio_compressor, generate(trained, kind, seconds)
    last = compressor.last
    with hf_tokcomp.compressed(trained, inside):
        generate(trained, kind, seconds)
        assert (trained.audio_compressor is compressor) == (inside != "stride")
    assert trained.audio_compressor is compressor
    assert compressor.last is last
    assert torch.equal(generate(trained, kind, seconds), expected)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_fresh_compressor_has_the_models_dtype(kind):
    model = hf_tokcomp.patch(tiny.model(kind).to(torch.bfloat16), CONFIG)
    assert {p.dtype for p in model.audio_compressor.parameters()} == {torch.bfloat16}
