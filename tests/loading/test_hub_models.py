"""Compressed models and adapters pushed to a Hub on loopback, and loaded by id as on another machine."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
import toy_learned
import transformers
from huggingface_hub import hf_hub_download
from peft import PeftModel, get_peft_model
from test_adapters import CONFIG, FILE, OTHER, WAYS, as_config, auto, compression, concrete, generate, lora

import hf_tokcomp
from hf_tokcomp import CompressionConfig

BASE, MODEL, ADAPTER = "someone/base", "someone/quarter", "someone/adapter"


@pytest.fixture(scope="module", autouse=True)
def _toy():
    with toy_learned.registered():
        yield


@pytest.fixture
def base(hub_here, kind):
    """A base model on the Hub, loaded from there."""
    tiny.model(kind).push_to_hub(BASE)
    return BASE


def push_adapter(kind, config, revision=None, **options):
    model = concrete(kind).from_pretrained(BASE, compression=config)
    torch.manual_seed(1)
    made = get_peft_model(model, lora(**options)).eval()
    copies = getattr(getattr(model, "audio_compressor", None), "modules_to_save", {})
    if "default" in copies:
        toy_learned.stir(copies["default"])
    made.push_to_hub(ADAPTER, revision=revision)
    return made


def ours(caplog):
    return [r.getMessage() for r in caplog.records if r.name.startswith("hf_tokcomp")]


class TestModels:
    def test_pushed_and_loaded_by_id(self, hub_here, kind, seconds, caplog):
        model = hf_tokcomp.patch(tiny.model(kind), CONFIG)
        model.push_to_hub(MODEL)
        stored = json.loads(hub_here.files(MODEL)["config.json"])["compression_config"]
        assert stored == as_config(CONFIG).to_dict()
        with hub_here.here("elsewhere"):
            again = auto(kind).from_pretrained(MODEL)
        assert torch.equal(generate(again, kind, seconds), generate(model, kind, seconds))
        with hub_here.here("elsewhere", offline=True):
            assert compression(auto(kind).from_pretrained(MODEL)) == as_config(CONFIG)
        assert not ours(caplog)

    def test_a_learned_compressor(self, hub_here, kind, seconds, caplog):
        """By revision, in shards, and from the cache."""
        model = hf_tokcomp.patch(tiny.model(kind), toy_learned.CONFIG)
        toy_learned.stir(model.audio_compressor)
        model.push_to_hub(MODEL, revision="v1", max_shard_size="40KB")
        assert any("index" in file for file in hub_here.files(MODEL, "v1"))
        tiny.model(kind, seed=3).push_to_hub(MODEL)
        with hub_here.here("elsewhere"):
            again = concrete(kind).from_pretrained(MODEL, revision="v1")
            assert compression(concrete(kind).from_pretrained(MODEL)) is None
        assert torch.equal(generate(again, kind, seconds), generate(model, kind, seconds))
        with hub_here.here("elsewhere", offline=True):
            again = auto(kind).from_pretrained(MODEL, revision="v1")
        assert torch.equal(generate(again, kind, seconds), generate(model, kind, seconds))
        assert not ours(caplog)

    def test_without_us_it_is_the_plain_model(self, hub):
        """One process for every kind of model, since starting it takes longest."""
        script, expected = "import sys, transformers\n", []
        for kind in tiny.KINDS:
            repo = f"someone/{kind.replace('_', '-')}"
            with hub.here():
                hf_tokcomp.patch(tiny.model(kind), CONFIG).push_to_hub(repo)
            script += (
                f"m = transformers.{concrete(kind).__name__}.from_pretrained({repo!r})\n"
                "print(hasattr(m, 'audio_compressor'), 'hf_' + 'tokcomp' in sys.modules, m.num_parameters())\n"
            )
            expected.append(f"False False {tiny.model(kind).num_parameters()}")
        assert hub.run(script, home="elsewhere").stdout.splitlines() == expected


class TestAdapters:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("config", [CONFIG, toy_learned.CONFIG], ids=["training-free", "learned"])
    def test_loaded_by_id(self, hub_here, kind, base, seconds, way, config, caplog):
        saved = ["audio_compressor"] if config is toy_learned.CONFIG else None
        trained = push_adapter(kind, config, modules_to_save=saved)
        files = hub_here.files(ADAPTER)
        assert {"adapter_config.json", "adapter_model.safetensors", FILE} <= set(files)
        assert as_config(json.loads(files[FILE])) == as_config(config)
        expected = generate(trained, kind, seconds)
        caplog.clear()
        with hub_here.here("elsewhere"):
            model = WAYS[way](kind, BASE, ADAPTER)
        assert compression(model) == as_config(config)
        assert torch.equal(generate(model, kind, seconds), expected)
        with hub_here.here("elsewhere", offline=True):
            model = WAYS[way](kind, BASE, ADAPTER)
        assert torch.equal(generate(model, kind, seconds), expected)
        if way not in ("class, named", "peft, on compressed"):
            assert not ours(caplog)

    def test_revisions(self, hub_here, kind, base):
        push_adapter(kind, CONFIG, revision="v1")
        push_adapter(kind, OTHER)
        for model in (
            hf_tokcomp.load_adapter(ADAPTER, revision="v1"),
            hf_tokcomp.load_adapter(f"{ADAPTER}@v1"),
            PeftModel.from_pretrained(tiny.model(kind), ADAPTER, revision="v1"),
            PeftModel.from_pretrained(tiny.model(kind), ADAPTER, revision="v1", compression=ADAPTER),
        ):
            assert compression(model) == as_config(CONFIG)
        assert compression(hf_tokcomp.load_adapter(ADAPTER)) == as_config(OTHER)
        model = tiny.model(kind)
        model.load_adapter(ADAPTER, adapter_kwargs={"revision": "v1"})
        assert compression(model) == as_config(CONFIG)

    def test_the_revision_of_the_base(self, hub_here, kind, base, seconds):
        tiny.model(kind, seed=3).push_to_hub(BASE, revision="older")
        model = concrete(kind).from_pretrained(BASE, revision="older")
        torch.manual_seed(1)
        trained = get_peft_model(hf_tokcomp.patch(model, CONFIG), lora(revision="older")).eval()
        trained.push_to_hub(ADAPTER)
        with hub_here.here("elsewhere"):
            again = hf_tokcomp.load_adapter(ADAPTER)
            other = hf_tokcomp.load_adapter(ADAPTER, base=BASE)
        assert torch.equal(generate(again, kind, seconds), generate(trained, kind, seconds))
        name = "model.language_model.embed_tokens.weight"
        kept = [m.get_base_model().state_dict()[name] for m in (trained, again, other)]
        assert torch.equal(kept[0], kept[1])
        assert not torch.equal(kept[0], kept[2])

    def test_a_private_one(self, hub_here, kind, base):
        push_adapter(kind, CONFIG)
        hub_here.repositories[ADAPTER].private = True
        for number, load in enumerate(
            (
                lambda **options: hf_tokcomp.load_adapter(ADAPTER, **options),
                lambda **options: PeftModel.from_pretrained(tiny.model(kind), ADAPTER, **options),
                lambda **options: auto(kind).from_pretrained(ADAPTER, **options),
            )
        ):
            with hub_here.here(f"stranger {number}", token=None):
                with pytest.raises(Exception, match=r"(?i)private|log in|not a valid|gated|401") as raised:
                    load()
                assert hub_here.token not in str(raised.value)
                assert compression(load(token=hub_here.token)) == as_config(CONFIG)

    def test_a_plain_one_is_known_to_be_plain(self, hub_here, kind, base, caplog):
        push_adapter(kind, None)
        with hub_here.here("elsewhere"):
            assert compression(hf_tokcomp.load_adapter(ADAPTER)) is None
        with hub_here.here("elsewhere", offline=True):
            assert compression(hf_tokcomp.load_adapter(ADAPTER)) is None
        assert not ours(caplog)

    def test_offline_where_nobody_asked_a_warning_says_so(self, hub_here, kind, base, caplog):
        push_adapter(kind, CONFIG)
        with hub_here.here("elsewhere"):
            for file in ("adapter_config.json", "adapter_model.safetensors"):
                hf_hub_download(ADAPTER, file)
        with hub_here.here("elsewhere", offline=True):
            assert compression(PeftModel.from_pretrained(tiny.model(kind), ADAPTER)) is None
        (message,) = ours(caplog)
        assert FILE in message
        assert "compression=..." in message

    @pytest.mark.parametrize("status", [500, 503])
    def test_a_hub_that_does_not_answer_is_an_error(self, hub_here, kind, base, status):
        """Not: no config, so no compression."""
        push_adapter(kind, CONFIG)
        hub_here.fail(FILE, status=status, times=None)
        model = tiny.model(kind)
        with hub_here.here("elsewhere"):
            for load in (
                lambda: PeftModel.from_pretrained(model, ADAPTER),
                lambda: model.load_adapter(ADAPTER),
                lambda: hf_tokcomp.load_adapter(ADAPTER),
                lambda: auto(kind).from_pretrained(ADAPTER),
            ):
                with pytest.raises(OSError, match=FILE):
                    load()
                assert compression(model) is None
                assert "forward" not in model.__dict__

    def test_a_repository_that_is_not_there(self, hub_here, kind):
        for load in (
            lambda: hf_tokcomp.load_adapter("someone/nothing"),
            lambda: PeftModel.from_pretrained(tiny.model(kind), "someone/nothing"),
        ):
            with pytest.raises(OSError, match="no repository someone/nothing"):
                load()

    def test_a_processor_takes_the_adapters_config(self, hub_here, kind, base):
        push_adapter(kind, CONFIG)
        tiny.processor(kind).push_to_hub(BASE)
        processor = transformers.AutoProcessor.from_pretrained(BASE, compression=ADAPTER)
        assert compression(processor) == as_config(CONFIG)
        assert compression(hf_tokcomp.patch(tiny.model(kind), ADAPTER)) == as_config(CONFIG)
        assert CompressionConfig.from_pretrained(ADAPTER) == as_config(CONFIG)
