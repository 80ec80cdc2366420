"""The keyword `compression=` of `from_pretrained`, and the config that travels in config.json."""

from __future__ import annotations

import json
import logging

import pytest
import tiny
import torch
import transformers
import warm
from transformers import AutoModel, AutoModelForCausalLM, AutoProcessor, PreTrainedModel, ProcessorMixin

import hf_tokcomp
from hf_tokcomp.loading.precedence import stored_config
from hf_tokcomp.models.registry import auto_classes

CONFIG = {"method": "top_k", "retention_ratio": 0.4, "positions": "original"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for kind in tiny.KINDS:
        made[kind] = tmp_path_factory.mktemp(kind)
        tiny.model(kind).save_pretrained(made[kind])
        tiny.processor(kind).save_pretrained(made[kind])
    return made


@pytest.fixture
def folder(folders, kind):
    return folders[kind]


@pytest.fixture
def expected(kind, seconds):
    model = hf_tokcomp.patch(tiny.model(kind), CONFIG)
    return model.generate(**tiny.inputs(kind, seconds), max_new_tokens=3, do_sample=False)


def generate(model, kind, seconds):
    return model.generate(**tiny.inputs(kind, seconds), max_new_tokens=3, do_sample=False)


def classes(kind):
    patch = hf_tokcomp.supported_models()[kind]
    return [*patch.model_classes, *auto_classes(patch)]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in tiny.KINDS for name in classes(kind)])
def test_every_class_with_a_head(folders, kind, name):
    seconds = [0.9, 0.43] if kind == "qwen2_audio" else [2.63, 0.5]
    model = getattr(transformers, name).from_pretrained(folders[kind], compression=CONFIG)
    reference = hf_tokcomp.patch(tiny.model(kind), CONFIG)
    assert torch.equal(generate(model, kind, seconds), generate(reference, kind, seconds))
    assert model.config.compression_config["method"] == "top_k"


@pytest.mark.parametrize(
    "options",
    [
        {"device_map": "cpu"},
        {"device_map": {"": "cpu"}},
        {"dtype": torch.bfloat16},
        {"dtype": "auto"},
        {"low_cpu_mem_usage": True},
        {"attn_implementation": "eager"},
    ],
    ids=str,
)
def test_other_keywords_keep_their_meaning(kind, folder, seconds, expected, options):
    cls = getattr(transformers, classes(kind)[0])
    model = cls.from_pretrained(folder, compression=CONFIG, **options)
    plain = cls.from_pretrained(folder, **options)
    assert model.dtype == plain.dtype
    assert model.config._attn_implementation == plain.config._attn_implementation
    assert getattr(model, "hf_device_map", None) == getattr(plain, "hf_device_map", None)
    if model.dtype == torch.float32:
        assert torch.equal(generate(model, kind, seconds), expected)


def test_quantised_loading(kind, folder, seconds):
    """Real 8-bit weights: quantised as without us, and compressed as if patched afterwards."""
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    cls = getattr(transformers, classes(kind)[0])
    options = {"quantization_config": transformers.BitsAndBytesConfig(load_in_8bit=True)}
    model = cls.from_pretrained(folder, compression=CONFIG, **options)
    assert isinstance(model.model.language_model.layers[0].self_attn.q_proj, bitsandbytes.nn.Linear8bitLt)
    afterwards = hf_tokcomp.patch(cls.from_pretrained(folder, **options), CONFIG)
    assert torch.equal(generate(model, kind, seconds), generate(afterwards, kind, seconds))
    assert model.audio_compressor.last.tokens_after[0] < model.audio_compressor.last.tokens_before[0]


def test_loading_info(kind, folder):
    cls = getattr(transformers, classes(kind)[0])
    model, info = cls.from_pretrained(folder, compression="ltbm", output_loading_info=True)
    assert hf_tokcomp.active_config(model).method == "ltbm"
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


def test_what_vllm_writes_into_the_stored_config_changes_nothing(kind, folder, tmp_path):
    hf_tokcomp.patch(tiny.model(kind), CONFIG).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values["compression_config"]["quant_method"] = ""
    (tmp_path / "config.json").write_text(json.dumps(values))
    model = getattr(transformers, classes(kind)[0]).from_pretrained(tmp_path)
    assert hf_tokcomp.active_config(model) == hf_tokcomp.CompressionConfig.from_dict(CONFIG)
    assert "quant_method" not in model.config.compression_config
    hf_tokcomp.unpatch(model)
    assert not hasattr(model.config, "compression_config")


@pytest.mark.parametrize("given", [CONFIG, None], ids=["given", "none"])
def test_a_stored_config_that_cannot_be_read(kind, folder, tmp_path, caplog, given):
    cls = getattr(transformers, classes(kind)[0])
    cls.from_pretrained(folder, compression=CONFIG).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values["compression_config"]["method"] = "of_somebody_else"
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(hf_tokcomp.CompressionConfigError, match="of_somebody_else"):
        cls.from_pretrained(tmp_path)
    model = cls.from_pretrained(tmp_path, compression=given)
    assert hf_tokcomp.active_config(model) == (given and hf_tokcomp.CompressionConfig.from_dict(given))
    assert "checkpoint's compression cannot be read" in caplog.text
    assert "of_somebody_else" not in str(model.config)


def test_without_the_keyword_nothing_changes(kind, folder):
    model = getattr(transformers, classes(kind)[0]).from_pretrained(folder)
    assert not hasattr(model, "audio_compressor")
    assert not [k for k in model.__dict__ if "tokcomp" in k]
    assert not hasattr(AutoProcessor.from_pretrained(folder), "compression_config")


def test_saved_and_loaded_again_it_compresses(kind, folder, seconds, expected, tmp_path, caplog):
    cls = getattr(transformers, classes(kind)[0])
    cls.from_pretrained(folder, compression=CONFIG).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())["compression_config"]
    assert values == hf_tokcomp.CompressionConfig.from_dict(CONFIG).to_dict()
    again = cls.from_pretrained(tmp_path)
    assert torch.equal(generate(again, kind, seconds), expected)

    off = cls.from_pretrained(tmp_path, compression=None)
    assert hf_tokcomp.active_config(off) is None
    assert stored_config(off) is None
    off.save_pretrained(tmp_path / "off")
    assert "compression_config" not in json.loads((tmp_path / "off" / "config.json").read_text())

    with caplog.at_level(logging.WARNING, "hf_tokcomp"):
        cls.from_pretrained(tmp_path, compression=CONFIG)
        assert not caplog.records
        other = cls.from_pretrained(tmp_path, compression="stride")
    assert other.audio_compressor.config.method == "stride"
    assert "replaced" in caplog.text
    assert "top_k" in caplog.text
    assert "stride" in caplog.text


@pytest.fixture(scope="module")
def without_us(folders, tmp_path_factory):
    """What a process without us makes of a compressed checkpoint of every kind: one start for all."""
    script = "import sys, transformers\n"
    for kind in tiny.KINDS:
        cls, place = classes(kind)[0], str(tmp_path_factory.mktemp("plain"))
        getattr(transformers, cls).from_pretrained(folders[kind], compression=CONFIG).save_pretrained(place)
        script += (
            f"m = transformers.{cls}.from_pretrained({place!r})\nassert not hasattr(m, 'audio_compressor')\n"
            f"assert 'hf_tokcomp' not in sys.modules\nprint('plain', {kind!r}, flush=True)\n"
        )
    return warm.run(script)


def test_the_checkpoint_loads_without_hf_tokcomp(kind, without_us):
    assert f"plain {kind}" in without_us.stdout.splitlines(), without_us.stderr


def test_a_config_folder_works_as_compression(kind, folder, seconds, expected, tmp_path):
    hf_tokcomp.CompressionConfig.from_dict(CONFIG).save_pretrained(tmp_path)
    cls = getattr(transformers, classes(kind)[0])
    for given in (str(tmp_path), tmp_path, hf_tokcomp.CompressionConfig.from_pretrained(tmp_path)):
        assert torch.equal(generate(cls.from_pretrained(folder, compression=given), kind, seconds), expected)


def test_processors_take_the_keyword(kind, folder):
    processor = AutoProcessor.from_pretrained(folder, compression=CONFIG)
    plain = AutoProcessor.from_pretrained(folder)
    long = tiny.inputs(kind, [0.9], of=plain)["input_ids"]
    assert tiny.inputs(kind, [0.9], of=processor)["input_ids"].shape[1] == long.shape[1] - 22 + 9


class TestErrors:
    def test_a_class_without_head(self, kind, folder):
        with pytest.raises(hf_tokcomp.UnsupportedModelError) as raised:
            AutoModel.from_pretrained(folder, compression="ltbm")
        for name in classes(kind):
            assert name in str(raised.value)

    def test_an_unsupported_model(self, tmp_path):
        config = transformers.Qwen2Config(
            vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
        )
        transformers.Qwen2ForCausalLM(config).save_pretrained(tmp_path)
        with pytest.raises(
            hf_tokcomp.UnsupportedModelError, match=r"Supported: qwen2_audio .*audioflamingo3.*ModelPatch"
        ):
            AutoModelForCausalLM.from_pretrained(tmp_path, compression="ltbm")

    def test_a_typo_costs_no_download(self, kind):
        with pytest.raises(hf_tokcomp.CompressionConfigError, match="did you mean 'segmentwise_top_k'"):
            getattr(transformers, classes(kind)[0]).from_pretrained("nobody/nothing", compression="segmentwise_topk")

    def test_bad_values(self, kind, folder):
        cls = getattr(transformers, classes(kind)[0])
        for bad in ({"method": "top_k", "retention_ratio": 2}, 3, {"retention_ratio": 0.5}, True, [3], ["top_kk"]):
            with pytest.raises(hf_tokcomp.CompressionConfigError):
                cls.from_pretrained(folder, compression=bad)

    def test_a_folder_that_is_not_there(self, kind, folder, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            getattr(transformers, classes(kind)[0]).from_pretrained(folder, compression=str(tmp_path / "nowhere"))
        with pytest.raises(FileNotFoundError, match=r"compression_config\.json"):
            getattr(transformers, classes(kind)[0]).from_pretrained(folder, compression=str(tmp_path))


def test_the_keyword_can_be_taken_away_and_given_back(kind, folder):
    cls = getattr(transformers, classes(kind)[0])
    wrapped = PreTrainedModel.__dict__["from_pretrained"], ProcessorMixin.__dict__["from_pretrained"]
    hf_tokcomp.install()  # a second time changes nothing
    assert (PreTrainedModel.__dict__["from_pretrained"], ProcessorMixin.__dict__["from_pretrained"]) == wrapped
    hf_tokcomp.uninstall()
    try:
        assert PreTrainedModel.__dict__["from_pretrained"] is not wrapped[0]
        assert "compression" not in PreTrainedModel.from_pretrained.__code__.co_varnames
        with pytest.raises(TypeError, match="compression"):
            cls.from_pretrained(folder, compression="ltbm")
    finally:
        hf_tokcomp.install()
    assert hf_tokcomp.active_config(cls.from_pretrained(folder, compression="ltbm")).method == "ltbm"
