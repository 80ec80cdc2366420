"""Adapters trained under compression: the config travels beside them, and is put on before they are."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import peft
import pytest
import tiny
import torch
import toy_learned
import transformers
from packaging.version import Version
from peft import AutoPeftModel, LoraConfig, PeftMixedModel, PeftModel, get_peft_model
from transformers import AutoModelForSeq2SeqLM
from transformers.integrations import peft as upstreams_peft

import hf_tokcomp
from hf_tokcomp import CompressionConfig
from hf_tokcomp.loading.adapter_files import given_adapter
from hf_tokcomp.models.registry import auto_classes

CONFIG = {"method": "top_k", "retention_ratio": 0.4, "positions": "original"}
OTHER = {"method": "stride", "retention_ratio": 0.5}
FILE = "compression_config.json"
UPSTREAM_REFUSES = Version(peft.__version__) < Version(upstreams_peft.MIN_PEFT_VERSION)
NEEDS_UPSTREAMS_PEFT = pytest.mark.skipif(
    UPSTREAM_REFUSES,
    reason=f"transformers {transformers.__version__} wants peft {upstreams_peft.MIN_PEFT_VERSION} for its own adapters",
)
TARGETS = r".*language_model.*\.(q_proj|v_proj)"


def lora(**options):
    return LoraConfig(r=2, target_modules=TARGETS, init_lora_weights=False, **options)


def generate(model, kind, seconds):
    return model.generate(**tiny.inputs(kind, seconds), max_new_tokens=3, do_sample=False)


def concrete(kind):
    return getattr(transformers, hf_tokcomp.supported_models()[kind].model_classes[0])


def auto(kind):
    return getattr(transformers, auto_classes(hf_tokcomp.supported_models()[kind])[0])


def compression(model):
    return hf_tokcomp.active_config(model)


def as_config(values):
    return CompressionConfig.from_dict(values)


@pytest.fixture(scope="module", autouse=True)
def _toy():
    with toy_learned.registered():
        yield


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    made = {}
    for kind in tiny.KINDS:
        made[kind] = tmp_path_factory.mktemp(kind)
        tiny.model(kind).save_pretrained(made[kind])
    return made


@pytest.fixture
def base(bases, kind):
    return bases[kind]


def make_adapter(kind, base, folder, config, **options):
    """A folder with an adapter, as training leaves it, and the model it was saved from."""
    model = concrete(kind).from_pretrained(base, compression=config)
    torch.manual_seed(1)
    made = get_peft_model(model, lora(**options)).eval()
    copies = getattr(getattr(model, "audio_compressor", None), "modules_to_save", {})
    if "default" in copies:
        toy_learned.stir(copies["default"])
    made.save_pretrained(folder)
    return made


@pytest.fixture(scope="module")
def adapters(bases, tmp_path_factory):
    """An adapter of every kind of model, made once; a test gets a copy of its own."""
    made = {kind: tmp_path_factory.mktemp("adapters") / "adapter" for kind in tiny.KINDS}
    for kind, folder in made.items():
        make_adapter(kind, bases[kind], folder, CONFIG)
    return made


@pytest.fixture
def adapter(kind, adapters, tmp_path):
    return shutil.copytree(adapters[kind], tmp_path / "adapter")


@pytest.fixture
def learned(kind, base, tmp_path):
    folder = tmp_path / "learned"
    return folder, make_adapter(kind, base, folder, toy_learned.CONFIG, modules_to_save=["audio_compressor"])


def load_into(kind, base, adapter):
    model = concrete(kind).from_pretrained(base)
    model.load_adapter(str(adapter))
    return model


WAYS = {
    "auto class": lambda kind, base, adapter: auto(kind).from_pretrained(adapter),
    "class": lambda kind, base, adapter: concrete(kind).from_pretrained(str(adapter)),
    "class, named": lambda kind, base, adapter: concrete(kind).from_pretrained(adapter, compression=adapter),
    "load_adapter": load_into,
    "peft": lambda kind, base, adapter: PeftModel.from_pretrained(concrete(kind).from_pretrained(base), adapter),
    "peft, keywords": lambda kind, base, adapter: PeftModel.from_pretrained(
        model=concrete(kind).from_pretrained(base), model_id=str(adapter), compression=str(adapter)
    ),
    "peft, on compressed": lambda kind, base, adapter: PeftModel.from_pretrained(
        concrete(kind).from_pretrained(base, compression=adapter), adapter
    ),
    "auto peft": lambda kind, base, adapter: AutoPeftModel.from_pretrained(adapter),
    "one line": lambda kind, base, adapter: hf_tokcomp.load_adapter(adapter),
}


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


class TestSaving:
    def test_the_config_stands_beside_every_adapter(self, kind, tmp_path):
        model = get_peft_model(hf_tokcomp.patch(tiny.model(kind), CONFIG), lora())
        model.add_adapter("second", lora())
        model.save_pretrained(tmp_path / "all")
        for folder in (tmp_path / "all", tmp_path / "all" / "second"):
            assert (folder / "adapter_config.json").is_file()
            assert CompressionConfig.from_pretrained(folder) == as_config(CONFIG)
        model.save_pretrained(tmp_path / "one", selected_adapters=["second"])
        assert not (tmp_path / "one" / FILE).exists()
        assert (tmp_path / "one" / "second" / FILE).is_file()
        model.save_pretrained(str(tmp_path / "other rank"), is_main_process=False)
        assert not (tmp_path / "other rank" / FILE).exists()

    def test_without_compression_nothing_is_written(self, kind, tmp_path):
        get_peft_model(tiny.model(kind), lora()).save_pretrained(tmp_path)
        assert not (tmp_path / FILE).exists()

    @NEEDS_UPSTREAMS_PEFT
    def test_an_adapter_of_transformers_own(self, kind, base, tmp_path, seconds):
        model = concrete(kind).from_pretrained(base, compression=CONFIG)
        torch.manual_seed(1)
        model.add_adapter(lora())
        model.save_pretrained(tmp_path)
        assert not (tmp_path / "config.json").exists()
        assert CompressionConfig.from_pretrained(tmp_path) == as_config(CONFIG)
        again = concrete(kind).from_pretrained(tmp_path)
        assert torch.equal(generate(again, kind, seconds), generate(model.eval(), kind, seconds))

    @pytest.mark.skipif(not UPSTREAM_REFUSES, reason="this transformers takes this peft")
    def test_what_upstream_refuses_leaves_the_model_as_it_is(self, kind, base, seconds):
        model = concrete(kind).from_pretrained(base, compression=CONFIG)
        expected = generate(model, kind, seconds)
        with pytest.raises(ValueError, match="version of PEFT"):
            model.add_adapter(lora())
        assert compression(model) == as_config(CONFIG)
        assert torch.equal(generate(model, kind, seconds), expected)
        untrained = LoraConfig(r=2, target_modules=TARGETS)  # which changes nothing yet
        assert torch.equal(generate(get_peft_model(model, untrained), kind, seconds), expected)  # as the README advises

    def test_a_whole_model_keeps_it_in_its_own_file(self, kind, tmp_path):
        hf_tokcomp.patch(tiny.model(kind), CONFIG).save_pretrained(tmp_path)
        assert not (tmp_path / FILE).exists()

    def test_a_file_of_an_earlier_adapter_is_named(self, kind, adapter, caplog):
        get_peft_model(tiny.model(kind), lora()).save_pretrained(adapter)
        assert str(adapter / FILE) in caplog.text
        assert "Remove the file" in caplog.text

    def test_trained_weights_that_are_left_out_are_named(self, kind, tmp_path, caplog):
        model = get_peft_model(hf_tokcomp.patch(tiny.model(kind), toy_learned.CONFIG), lora())
        model.save_pretrained(tmp_path)
        assert not caplog.records
        model.get_base_model().audio_compressor.requires_grad_(True)
        model.save_pretrained(tmp_path)
        assert "modules_to_save=['audio_compressor']" in caplog.text

    def test_an_adapter_to_the_compressor_is_not_left_out(self, kind, tmp_path, caplog):
        config = LoraConfig(r=2, target_modules=r".*audio_compressor\.mix")
        get_peft_model(hf_tokcomp.patch(tiny.model(kind), toy_learned.CONFIG), config).save_pretrained(tmp_path)
        assert not caplog.records

    def test_other_models_are_saved_as_ever(self, tmp_path):
        plain = torch.nn.Sequential(torch.nn.Linear(2, 2))
        get_peft_model(plain, LoraConfig(target_modules=["0"])).save_pretrained(tmp_path)
        assert (tmp_path / "adapter_config.json").is_file()
        assert not (tmp_path / FILE).exists()


class TestLoading:
    def test_every_way_gives_the_same_ids(self, kind, base, adapter, seconds, way, caplog):
        trained = make_adapter(kind, base, adapter, CONFIG)
        caplog.clear()
        model = way(kind, base, adapter)
        assert compression(model) == as_config(CONFIG)
        assert torch.equal(generate(model, kind, seconds), generate(trained, kind, seconds))
        assert not [r for r in caplog.records if r.name.startswith("hf_tokcomp")]
        with trained.disable_adapter():
            assert not torch.equal(generate(model, kind, seconds), generate(trained, kind, seconds))

    def test_a_learned_compressor_arrives(self, kind, base, learned, seconds, way, caplog):
        folder, trained = learned
        caplog.clear()
        model = way(kind, base, folder)
        assert torch.equal(generate(model, kind, seconds), generate(trained, kind, seconds))
        inner = model.get_base_model() if isinstance(model, PeftModel) else model
        weights = inner.audio_compressor.modules_to_save["default"].state_dict()
        expected = trained.get_base_model().audio_compressor.modules_to_save["default"].state_dict()
        assert set(weights) == {"mix.weight", "mix.bias", "scale"}
        for name, value in expected.items():
            assert torch.equal(weights[name], value)
        if way is not WAYS["class, named"] and way is not WAYS["peft, on compressed"]:
            assert not [r for r in caplog.records if r.name.startswith("hf_tokcomp")]

    def test_a_compressor_of_the_base_model_arrives(self, kind, tmp_path, seconds, way):
        """The adapter adds to a model whose checkpoint has the compressor's weights."""
        whole, folder = tmp_path / "whole", tmp_path / "adapter"
        model = hf_tokcomp.patch(tiny.model(kind), toy_learned.CONFIG)
        toy_learned.stir(model.audio_compressor)
        model.save_pretrained(whole)
        trained = make_adapter(kind, whole, folder, toy_learned.CONFIG)
        for name, value in model.audio_compressor.state_dict().items():
            assert torch.equal(trained.get_base_model().audio_compressor.state_dict()[name], value)
        assert torch.equal(generate(way(kind, whole, folder), kind, seconds), generate(trained, kind, seconds))

    def test_a_plain_adapter_is_loaded_as_ever(self, kind, base, tmp_path, seconds, caplog):
        trained = make_adapter(kind, base, tmp_path, None)
        expected = generate(trained, kind, seconds)
        for way in ("auto class", "class", "load_adapter", "peft", "one line"):
            model = WAYS[way](kind, base, tmp_path)
            assert compression(model) is None
            assert torch.equal(generate(model, kind, seconds), expected)
        assert not [r for r in caplog.records if r.name.startswith("hf_tokcomp")]

    def test_a_second_adapter(self, kind, base, adapter, seconds):
        """Also through PeftModel's own `load_adapter`, and on a model that is not compressed yet."""
        model = get_peft_model(concrete(kind).from_pretrained(base), lora()).eval()
        model.load_adapter(adapter, "second")
        model.set_adapter("second")
        assert compression(model) == as_config(CONFIG)
        one = hf_tokcomp.load_adapter(adapter)
        assert torch.equal(generate(model, kind, seconds), generate(one, kind, seconds))

    def test_what_the_model_has_learned_stays_in_silence(self, kind, base, tmp_path, caplog):
        make_adapter(kind, base, tmp_path, toy_learned.CONFIG)
        model = hf_tokcomp.patch(tiny.model(kind), toy_learned.CONFIG)
        compressor = model.audio_compressor
        caplog.clear()
        PeftModel.from_pretrained(model, tmp_path)
        assert model.audio_compressor is compressor
        assert not [r for r in caplog.records if r.name.startswith("hf_tokcomp")]

    def test_a_second_compressor_that_was_learned(self, kind, learned, seconds):
        folder, trained = learned
        model = hf_tokcomp.load_adapter(folder)
        toy_learned.stir(model.get_base_model().audio_compressor.modules_to_save["default"])
        model.load_adapter(folder, "second")
        model.set_adapter("second")
        assert torch.equal(generate(model.eval(), kind, seconds), generate(trained, kind, seconds))

    def test_pefts_mixed_model(self, kind, base, adapter, seconds):
        model = PeftMixedModel.from_pretrained(concrete(kind).from_pretrained(base), str(adapter))
        assert compression(model) == as_config(CONFIG)
        one = hf_tokcomp.load_adapter(adapter)
        assert torch.equal(generate(model, kind, seconds), generate(one, kind, seconds))
        mixed = get_peft_model(tiny.model(kind), lora(), mixed=True)
        assert compression(mixed) is None
        mixed.load_adapter(str(adapter), "second")
        assert compression(mixed) == as_config(CONFIG)

    def test_from_a_subfolder(self, kind, base, adapter, tmp_path):
        make_adapter(kind, base, tmp_path / "repository" / "inner", OTHER)
        model = hf_tokcomp.load_adapter(tmp_path / "repository", subfolder="inner")
        assert compression(model) == as_config(OTHER)
        model = PeftModel.from_pretrained(tiny.model(kind), tmp_path / "repository", subfolder="inner")
        assert compression(model) == as_config(OTHER)
        if Version(transformers.__version__) >= Version("5.23"):  # older ones look for it in the folder itself
            model = tiny.model(kind)
            model.load_adapter(str(tmp_path / "repository"), adapter_kwargs={"subfolder": "inner"})
            assert compression(model) == as_config(OTHER)

    def test_the_one_line_passes_keywords_on(self, kind, base, adapter):
        model = hf_tokcomp.load_adapter(adapter, base=base, is_trainable=True, dtype=torch.bfloat16)
        assert isinstance(model, PeftModel)
        assert model.get_base_model().dtype == torch.bfloat16
        assert any(p.requires_grad for n, p in model.named_parameters() if "lora" in n)

    @pytest.mark.parametrize(
        "load",
        [
            lambda kind, base, folder: hf_tokcomp.load_adapter(folder, device_map="cpu"),
            lambda kind, base, folder: auto(kind).from_pretrained(folder, device_map={"": "cpu"}),
            lambda kind, base, folder: PeftModel.from_pretrained(
                concrete(kind).from_pretrained(base), folder, low_cpu_mem_usage=True
            ),
        ],
        ids=["device_map", "device_map, auto class", "low_cpu_mem_usage"],
    )
    def test_with_other_keywords(self, kind, base, learned, seconds, load):
        folder, trained = learned
        assert torch.equal(generate(load(kind, base, folder), kind, seconds), generate(trained, kind, seconds))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_in_half_precision(self, kind, learned, seconds, dtype):
        folder, _ = learned
        inputs = dict(tiny.inputs(kind, seconds))
        inputs["input_features"] = inputs["input_features"].to(dtype)
        for model in (hf_tokcomp.load_adapter(folder, dtype=dtype), auto(kind).from_pretrained(folder, dtype=dtype)):
            ids = model.generate(**inputs, max_new_tokens=2, do_sample=False)
            assert ids.shape[1] == inputs["input_ids"].shape[1] + 2

    def test_an_adapter_in_memory(self, kind, adapter, seconds):
        source = PeftModel.from_pretrained(tiny.model(kind), adapter)
        weights = {
            name.removeprefix("base_model.model."): value
            for name, value in source.state_dict().items()
            if "lora" in name
        }
        model = hf_tokcomp.patch(tiny.model(kind), CONFIG)
        model.load_adapter(adapter_state_dict=weights, peft_config=source.peft_config["default"])
        assert compression(model) == as_config(CONFIG)
        weights["audio_compressor.mix.weight"] = torch.zeros(32, 32)
        with pytest.raises(hf_tokcomp.CompressorWeightsError, match=r"compression=\.\.\."):
            tiny.model(kind).load_adapter(adapter_state_dict=weights, peft_config=source.peft_config["default"])


@pytest.mark.parametrize(
    ("names", "whole"),
    [(["model.audio_compressor"], True), ([3, "audio_compressor"], True), (["lm_head"], False), (None, False)],
    ids=str,
)
def test_which_modules_to_save_name_the_compressor(names, whole):
    assert given_adapter(SimpleNamespace(modules_to_save=names), None).whole is whole


class TestConflicts:
    def said(self, caplog):
        return [r.getMessage() for r in caplog.records if r.name.startswith("hf_tokcomp")]

    @pytest.mark.parametrize(
        "way",
        [
            lambda kind, base, adapter: auto(kind).from_pretrained(adapter, compression=OTHER),
            lambda kind, base, adapter: PeftModel.from_pretrained(tiny.model(kind), adapter, compression=OTHER),
            lambda kind, base, adapter: PeftModel.from_pretrained(hf_tokcomp.patch(tiny.model(kind), OTHER), adapter),
            lambda kind, base, adapter: hf_tokcomp.load_adapter(adapter, compression=OTHER),
        ],
        ids=["auto class", "peft", "patched before", "one line"],
    )
    def test_a_given_one_wins_over_the_adapters(self, kind, base, adapter, caplog, way):
        assert compression(way(kind, base, adapter)) == as_config(OTHER)
        (message,) = self.said(caplog)
        assert "adapter's compression" in message
        assert "top_k" in message
        assert "replaced by" in message
        assert "stride" in message

    def test_a_given_one_wins_over_the_models(self, kind, base, adapter, caplog):
        model = hf_tokcomp.patch(tiny.model(kind), OTHER)
        model.load_adapter(str(adapter), compression=CONFIG)
        assert compression(model) == as_config(CONFIG)
        (message,) = self.said(caplog)
        assert "model's compression" in message

    @pytest.mark.parametrize("way", ["auto class", "class", "one line"])
    def test_the_adapters_wins_over_the_checkpoints(self, kind, tmp_path, caplog, way):
        hf_tokcomp.patch(tiny.model(kind), OTHER).save_pretrained(tmp_path / "base")
        make_adapter(kind, tmp_path / "base", tmp_path / "adapter", CONFIG)
        caplog.clear()
        model = WAYS[way](kind, tmp_path / "base", tmp_path / "adapter")
        assert compression(model) == as_config(CONFIG)
        (message,) = self.said(caplog)
        assert "checkpoint's compression" in message

    @pytest.mark.parametrize(
        "way",
        [
            lambda kind, base, adapter: auto(kind).from_pretrained(adapter, compression=None),
            lambda kind, base, adapter: PeftModel.from_pretrained(tiny.model(kind), adapter, compression=None),
            lambda kind, base, adapter: PeftModel.from_pretrained(
                hf_tokcomp.patch(tiny.model(kind), OTHER), adapter, compression=None
            ),
            lambda kind, base, adapter: hf_tokcomp.load_adapter(adapter, compression=None),
        ],
        ids=["auto class", "peft", "peft, patched", "one line"],
    )
    def test_none_turns_it_off_aloud(self, kind, base, adapter, caplog, way):
        assert compression(way(kind, base, adapter)) is None
        (message,) = self.said(caplog)
        assert "trained under" in message
        assert "top_k" in message

    @pytest.mark.parametrize("way", ["auto class", "peft"])
    def test_none_leaves_a_compressors_weights_out_aloud(self, kind, base, learned, seconds, caplog, way):
        folder, _ = learned
        (folder / FILE).unlink()
        if way == "peft":
            model = PeftModel.from_pretrained(concrete(kind).from_pretrained(base), folder, compression=None)
        else:
            model = auto(kind).from_pretrained(folder, compression=None)
        assert compression(model) is None
        assert generate(model, kind, seconds).shape[0] == len(seconds)
        (message,) = self.said(caplog)
        assert "weights are ignored" in message

    @pytest.mark.parametrize("given", [OTHER, None], ids=["other", "none"])
    @pytest.mark.parametrize("way", ["auto class", "peft", "one line"])
    def test_one_that_cannot_be_read_is_overruled_aloud(self, kind, base, adapter, caplog, way, given):
        (adapter / FILE).write_text('{"method": "of_somebody_else"}')
        if way == "auto class":
            model = auto(kind).from_pretrained(adapter, compression=given)
        elif way == "peft":
            model = PeftModel.from_pretrained(tiny.model(kind), adapter, compression=given)
        else:
            model = hf_tokcomp.load_adapter(adapter, compression=given)
        assert compression(model) == (given and as_config(given))
        assert all("adapter's compression cannot be read" in said for said in self.said(caplog))
        assert "of_somebody_else" in caplog.text

    def test_one_that_cannot_be_read_gives_way_to_the_models(self, kind, adapter, caplog):
        (adapter / FILE).write_text("{")
        model = PeftModel.from_pretrained(hf_tokcomp.patch(tiny.model(kind), OTHER), adapter)
        assert compression(model) == as_config(OTHER)
        assert "adapter's compression cannot be read" in caplog.text

    def test_none_on_a_base_with_a_config(self, kind, tmp_path, caplog):
        hf_tokcomp.patch(tiny.model(kind), OTHER).save_pretrained(tmp_path / "base")
        make_adapter(kind, tmp_path / "base", tmp_path / "adapter", CONFIG)
        model = auto(kind).from_pretrained(tmp_path / "adapter", compression=None)
        assert compression(model) is None
        assert not hasattr(model.config, "compression_config")


class TestErrors:
    @pytest.mark.parametrize("way", ["auto class", "load_adapter", "peft", "auto peft", "one line"])
    def test_a_compressors_weights_without_its_config(self, kind, base, learned, way):
        folder, _ = learned
        (folder / FILE).unlink()
        with pytest.raises(hf_tokcomp.CompressorWeightsError, match=r"compression=\.\.\."):
            WAYS[way](kind, base, folder)

    @pytest.mark.parametrize("config", [CONFIG, toy_learned.CONFIG | {"dim": 31}], ids=["other method", "other size"])
    @pytest.mark.parametrize("patched", [None, OTHER, toy_learned.CONFIG], ids=str)
    def test_weights_that_do_not_fit_change_nothing(self, kind, learned, config, patched):
        folder, _ = learned
        model = tiny.model(kind)
        if patched is not None:
            hf_tokcomp.patch(model, patched)
        before, names = compression(model), set(model.state_dict())
        compressor = getattr(model, "audio_compressor", None)
        with pytest.raises(hf_tokcomp.CompressorWeightsError, match="do not fit"):
            PeftModel.from_pretrained(model, folder, compression=config)
        assert compression(model) == before
        assert getattr(model, "audio_compressor", None) is compressor
        assert set(model.state_dict()) == names
        assert before is not None or "forward" not in model.__dict__

    def test_a_weight_that_is_missing(self, kind, learned):
        from safetensors.torch import load_file, save_file

        folder, _ = learned
        file = folder / "adapter_model.safetensors"
        save_file({k: v for k, v in load_file(file).items() if "mix.bias" not in k}, file)
        with pytest.raises(hf_tokcomp.CompressorWeightsError, match=r"finds no mix\.bias"):
            hf_tokcomp.load_adapter(folder)

    def test_weights_are_not_unpickled(self, kind, learned):
        folder, trained = learned
        (folder / "adapter_model.safetensors").unlink()
        trained.save_pretrained(folder, safe_serialization=False)
        assert not (folder / "adapter_model.safetensors").exists()
        with pytest.raises(hf_tokcomp.CompressorWeightsError, match="safe_serialization=True"):
            PeftModel.from_pretrained(tiny.model(kind), folder)

    def test_an_adapter_to_the_compressor_needs_one(self, kind, base, tmp_path):
        model = concrete(kind).from_pretrained(base, compression=toy_learned.CONFIG)
        config = LoraConfig(r=2, target_modules=r".*(language_model.*\.q_proj|audio_compressor\.mix)")
        get_peft_model(model, config).save_pretrained(tmp_path)
        (tmp_path / FILE).unlink()
        with pytest.raises(hf_tokcomp.CompressorWeightsError, match=r"compression=\.\.\."):
            PeftModel.from_pretrained(concrete(kind).from_pretrained(base), tmp_path)
        with pytest.raises(hf_tokcomp.CompressorWeightsError, match=r"has no place for mix\.lora"):
            PeftModel.from_pretrained(concrete(kind).from_pretrained(base), tmp_path, compression=CONFIG)
        PeftModel.from_pretrained(concrete(kind).from_pretrained(base), tmp_path, compression=toy_learned.CONFIG)

    @pytest.mark.parametrize("patched", [None, OTHER], ids=str)
    def test_a_load_that_fails_leaves_the_model_as_it_was(self, kind, adapter, patched):
        (adapter / "adapter_model.safetensors").write_bytes(b"not weights")
        model = tiny.model(kind)
        if patched is not None:
            hf_tokcomp.patch(model, patched)
        before = compression(model)
        for load in (
            lambda: model.load_adapter(str(adapter), compression=CONFIG),
            lambda: PeftModel.from_pretrained(model, adapter, compression=CONFIG),
        ):
            with pytest.raises(Exception, match=r"(?i)header|safetensors"):
                load()
            assert compression(model) == before

    def test_a_failure_in_peft_itself(self, kind, adapter):
        config = json.loads((adapter / "adapter_config.json").read_text())
        (adapter / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["nothing"]}))
        model = tiny.model(kind)
        with pytest.raises(ValueError, match="nothing"):
            PeftModel.from_pretrained(model, adapter)
        assert compression(model) is None
        assert "forward" not in model.__dict__

    def test_a_class_without_head(self, kind, adapter):
        with pytest.raises(hf_tokcomp.UnsupportedModelError, match="no language-model head"):
            transformers.AutoModel.from_pretrained(adapter)

    def test_a_bad_config_beside_the_adapter(self, kind, adapter):
        (adapter / FILE).write_text('{"method": "nothing_like_it"}')
        model = tiny.model(kind)
        with pytest.raises(hf_tokcomp.CompressionConfigError, match="nothing_like_it"):
            PeftModel.from_pretrained(model, adapter)
        assert compression(model) is None

    def test_no_code_of_the_base_model_is_run(self, kind, adapter, tmp_path, monkeypatch):
        base = tmp_path / "base of strangers"
        base.mkdir()
        config = {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config"}}
        (base / "config.json").write_text(json.dumps(config))
        (base / "theirs.py").write_text("raise SystemExit('their code was run')")
        monkeypatch.setattr("builtins.input", lambda *_: "y")
        with pytest.raises(hf_tokcomp.UnsupportedModelError, match="is of type 'theirs', which is not supported"):
            hf_tokcomp.load_adapter(adapter, base=base)

    def test_what_is_not_an_adapter(self, kind, base, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"adapter_config\.json"):
            hf_tokcomp.load_adapter(base)
        with pytest.raises(ValueError, match=r"adapter_config\.json"):
            PeftModel.from_pretrained(tiny.model(kind), tmp_path)

    def test_an_adapter_without_a_base(self, kind, base, adapter):
        config = json.loads((adapter / "adapter_config.json").read_text())
        (adapter / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
        with pytest.raises(ValueError, match="base="):
            hf_tokcomp.load_adapter(adapter)
        assert compression(hf_tokcomp.load_adapter(adapter, base=base)) == as_config(CONFIG)

    def test_other_models(self, tmp_path):
        config = transformers.Qwen2Config(
            vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
        )
        made = transformers.Qwen2ForCausalLM(config)
        made.save_pretrained(tmp_path / "base")
        get_peft_model(
            transformers.Qwen2ForCausalLM.from_pretrained(tmp_path / "base"), LoraConfig(target_modules=["q_proj"])
        ).save_pretrained(tmp_path / "adapter")
        assert isinstance(PeftModel.from_pretrained(made, tmp_path / "adapter"), PeftModel)
        with pytest.raises(hf_tokcomp.UnsupportedModelError, match=r"Supported: qwen2_audio"):
            PeftModel.from_pretrained(made, tmp_path / "adapter", compression=CONFIG)
        with pytest.raises(hf_tokcomp.UnsupportedModelError, match=r"Supported: qwen2_audio"):
            hf_tokcomp.load_adapter(tmp_path / "adapter")


def test_seq2seq_auto_class_for_audio_flamingo(bases, tmp_path):
    """AF3 is in this Auto class; the name is in the README."""
    make_adapter("audioflamingo3", bases["audioflamingo3"], tmp_path, CONFIG)
    assert compression(AutoModelForSeq2SeqLM.from_pretrained(tmp_path)) == as_config(CONFIG)


def training(kind, folder, model, **options):
    from test_training import Rows

    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        max_steps=2,
        save_steps=1,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    return transformers.Trainer(model=model, args=arguments, train_dataset=Rows(kind, 4), **options)


@pytest.mark.grad
class TestTrainer:
    @pytest.mark.parametrize("config", [CONFIG, toy_learned.CONFIG], ids=["training-free", "learned"])
    def test_checkpoints_carry_the_config(self, kind, base, tmp_path, seconds, config):
        model = concrete(kind).from_pretrained(base, compression=config)
        saved = ["audio_compressor"] if config is toy_learned.CONFIG else None
        torch.manual_seed(0)
        run = training(kind, tmp_path / "run", get_peft_model(model, lora(modules_to_save=saved)))
        run.train()
        run.save_model(str(tmp_path / "final"))
        for folder in (tmp_path / "run" / "checkpoint-1", tmp_path / "run" / "checkpoint-2", tmp_path / "final"):
            assert CompressionConfig.from_pretrained(folder) == as_config(config)
        trained = run.model.eval()
        for way in ("auto class", "peft", "one line"):
            again = WAYS[way](kind, base, tmp_path / "final")
            assert torch.equal(generate(again, kind, seconds), generate(trained, kind, seconds))
        if saved:
            fresh = hf_tokcomp.load_adapter(tmp_path / "run" / "checkpoint-1").get_base_model().audio_compressor
            ours = trained.get_base_model().audio_compressor
            moved = (fresh.modules_to_save["default"].mix.weight - ours.modules_to_save["default"].mix.weight).abs()
            assert moved.max() > 0  # it was trained, and every checkpoint has its own

    def test_training_goes_on_from_a_checkpoint(self, kind, base, tmp_path, caplog):
        model = concrete(kind).from_pretrained(base, compression=CONFIG)
        run = training(kind, tmp_path, get_peft_model(model, lora()))
        run.train()
        run = training(kind, tmp_path, get_peft_model(concrete(kind).from_pretrained(base, compression=CONFIG), lora()))
        run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
        assert run.state.global_step == 2
        assert compression(run.model) == as_config(CONFIG)
        assert not [r for r in caplog.records if r.name.startswith("hf_tokcomp")]

    @NEEDS_UPSTREAMS_PEFT
    def test_an_adapter_of_transformers_own(self, kind, base, tmp_path):
        model = concrete(kind).from_pretrained(base, compression=CONFIG)
        model.add_adapter(lora())
        run = training(kind, tmp_path, model)
        run.train()
        assert CompressionConfig.from_pretrained(tmp_path / "checkpoint-2") == as_config(CONFIG)
