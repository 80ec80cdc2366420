"""A config on the Hub, wherever a compression is taken: models, processors, `patch`, `compressed`, the command line."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
from hub_server import TOKEN
from transformers import AutoModelForSeq2SeqLM, AutoProcessor, Qwen2AudioForConditionalGeneration

import hf_tokcomp
from hf_tokcomp import CompressionConfig, active_config, cli

REPO = "someone/quarter"
CONFIG = CompressionConfig.from_dict({"method": "top_k", "retention_ratio": 0.4, "positions": "original"})
OTHER = CompressionConfig.from_dict({"method": "stride", "max_tokens": 3})
KIND = "qwen2_audio"
NAME = "compression_config.json"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a tiny model and its processor."""
    folder = tmp_path_factory.mktemp("base")
    tiny.model(KIND).save_pretrained(folder)
    tiny.processor(KIND).save_pretrained(folder)
    return folder


@pytest.fixture
def there(hub):
    """The server, with the config at `main` and another at `v2`, for those who have the token."""
    hub.put(REPO, {NAME: CONFIG.to_json_string()}, private=True)
    hub.put(REPO, {NAME: OTHER.to_json_string()}, revision="v2")
    return hub


@pytest.fixture
def on_hub(there, base):
    """The server, with the model, too."""
    there.put("someone/base", {file.name: file.read_bytes() for file in base.iterdir()})
    return there


def text(model):
    return model.generate(**tiny.inputs(KIND, [0.9, 0.4]), max_new_tokens=3, do_sample=False)


LOADERS = {
    "model": Qwen2AudioForConditionalGeneration.from_pretrained,
    "auto": AutoModelForSeq2SeqLM.from_pretrained,
    "processor": AutoProcessor.from_pretrained,
}


@pytest.fixture(params=LOADERS)
def load(request):
    return LOADERS[request.param]


def test_an_id_and_an_id_with_a_revision(there, base, load):
    with there.here():
        assert active_config(load(base, compression=REPO)) == CONFIG
        assert active_config(load(base, compression=f"{REPO}@v2")) == OTHER


def test_it_compresses_as_the_config_itself(there, base):
    with there.here():
        model = LOADERS["model"](base, compression=REPO)
        processor = LOADERS["processor"](base, compression=REPO)
    assert torch.equal(text(model), text(hf_tokcomp.patch(tiny.model(KIND), CONFIG)))
    patched = hf_tokcomp.patch(tiny.processor(KIND), CONFIG)
    ours, theirs = (tiny.inputs(KIND, [0.9], of=of)["input_ids"] for of in (processor, patched))
    assert torch.equal(ours, theirs)


def test_token_and_cache_are_those_of_the_base(on_hub, load):
    """The base and the config come with the same token, into the same cache; and offline from there."""
    mine = on_hub.folder / "mine"
    with on_hub.here(token=None):
        with pytest.raises(FileNotFoundError, match="private and you have no access"):
            load("someone/base", compression=REPO)
        loaded = load("someone/base", compression=REPO, token=TOKEN, cache_dir=mine)
        assert active_config(loaded) == CONFIG
        assert not [path for path in on_hub.cached() if NAME in path]
        assert len(list(mine.rglob(NAME))) == 1
        on_hub.requests.clear()
        assert active_config(load("someone/base", compression=REPO, local_files_only=True, cache_dir=mine)) == CONFIG
        assert not on_hub.requests
        load("someone/base", compression=REPO, token=TOKEN, cache_dir=mine, force_download=True)
    assert [r.path for r in on_hub.requests if r.method == "GET" and r.path.endswith(NAME)]


def test_the_revision_is_the_base_s(on_hub, base, load):
    on_hub.put("someone/base", {"extra": ""}, revision="v1")
    with on_hub.here():
        assert active_config(load("someone/base", compression=REPO, revision="v1")) == CONFIG
        assert active_config(load("someone/base", compression=f"{REPO}@v2", revision="v1")) == OTHER
    assert not [request for request in on_hub.requests if "quarter/resolve/v1" in request.path]


def test_base_and_config_of_one_repository_share_the_revision(on_hub, load):
    on_hub.put("someone/base", {NAME: CONFIG.to_json_string()})
    on_hub.put("someone/base", {NAME: OTHER.to_json_string()}, revision="v2")
    with on_hub.here():
        assert active_config(load("someone/base", compression="someone/base")) == CONFIG
        assert active_config(load("someone/base", compression="someone/base", revision="v2")) == OTHER
        assert active_config(load("someone/base", compression="someone/base@main", revision="v2")) == CONFIG


def test_patch_and_compressed(there):
    with there.here():
        model = hf_tokcomp.patch(tiny.model(KIND), REPO)
        assert active_config(model) == CONFIG
        with hf_tokcomp.compressed(model, f"{REPO}@v2"):
            assert active_config(model) == OTHER
        assert active_config(model) == CONFIG
        assert active_config(hf_tokcomp.patch(tiny.processor(KIND), REPO)) == CONFIG


def test_a_compressed_model_s_own_config_serves_its_processor(there, base):
    with there.here():
        model = LOADERS["model"](base, compression=REPO)
        there.put("someone/compressed", {"config.json": json.dumps(model.config.to_dict())})
        assert active_config(LOADERS["processor"](base, compression="someone/compressed")) == CONFIG


def test_what_cannot_be_read_changes_nothing(there, base, load, tmp_path):
    model = hf_tokcomp.patch(tiny.model(KIND), "stride")
    before = dict(model.__dict__)
    there.put("someone/empty", {})
    there.put("someone/bad", {NAME: '{"method": "ltbn"}'})
    wrong = {
        "someone/absent": FileNotFoundError,
        "someone/empty": FileNotFoundError,
        f"{REPO}@v9": FileNotFoundError,
        "someone/bad": hf_tokcomp.CompressionConfigError,
        "one/two/three": FileNotFoundError,
        str(tmp_path / "absent"): FileNotFoundError,
        "x" * 5000: hf_tokcomp.CompressionConfigError,
    }
    with there.here():
        for name, error in wrong.items():
            with pytest.raises(error):
                load(base, compression=name)
            with pytest.raises(error):
                hf_tokcomp.patch(model, name)
        there.cut(f"quarter/.*{NAME}", times=None)
        with pytest.raises(ConnectionError, match="broke"):
            hf_tokcomp.patch(model, REPO)
    assert model.__dict__ == before
    assert active_config(model).method == "stride"


class TestCommandLine:
    def test_run_takes_an_id(self, there, capsys):
        for name, expected in ((REPO, CONFIG), (f"{REPO}@v2", OTHER)):
            with there.here():
                assert cli.main(["run", "--compression", name, "--json"]) == 0
            said = json.loads(capsys.readouterr().out)
            assert expected.method in json.dumps(said)

    def test_what_is_wrong_is_said_in_a_line(self, there, capsys):
        with there.here(token=None):
            for name in ("someone/absent", REPO, f"{REPO}@v9"):
                assert cli.main(["run", "--compression", name]) == 1
                said = capsys.readouterr()
                assert said.out == ""
                assert said.err.startswith("hf-tokcomp: error: ")
                assert "hf auth login" in said.err
                assert TOKEN not in said.err
