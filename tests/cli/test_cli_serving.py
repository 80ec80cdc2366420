"""`hf-tokcomp export-vllm` and `hf-tokcomp serve`, as far as they need no vLLM."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tiny
from huggingface_hub import constants
from shipped import needs_small_model

import hf_tokcomp
from hf_tokcomp.checkpoints import SMALL_MODEL

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")
QUARTER = ("--compression", "ltbm", "--retention-ratio", "1/4")
without_vllm = pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed; its tests start it")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, one with a stored compression, and an adapter."""
    folder = tmp_path_factory.mktemp("serving")
    for name in ("model", "stored"):
        model = tiny.model("qwen2_audio", hidden=128)
        if name == "stored":
            hf_tokcomp.patch(model, {"method": "stride", "positions": "original"})
        model.save_pretrained(folder / name)
        tiny.processor("qwen2_audio").save_pretrained(folder / name)
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/base"}')
    (folder / "serve.yaml").write_text("model: model\ncompression: ltbm\nretention_ratio: 1/4\ndry_run: true\n")
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An HF_HOME of one's own."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    return tmp_path


def printed(result: tuple[int, str, str]) -> list[str]:
    code, out, err = result
    assert (code, err) == (0, ""), err
    return out.splitlines()


def overrides(line: str) -> dict[str, Any]:
    """What a command hands to vLLM in JSON."""
    words = shlex.split(line)
    found: dict[str, Any] = json.loads(words[words.index("--hf-overrides") + 1])
    return found


def test_export(call: Callable[..., Any], tmp_path: Path) -> None:
    served = tmp_path / "served"
    lines = printed(call("export-vllm", "model", str(served), *QUARTER, "--positions", "original"))
    assert lines[0].startswith(f"Wrote {served}: model, ltbm, ")
    values = json.loads((served / "config.json").read_text())
    assert values["audio_compression"]["retention_ratio"] == 0.25
    assert values["audio_compression"]["positions"] == "original"
    assert lines[1].endswith(f"{served} --served-model-name model --video-pruning-rate 0.5")
    changed = printed(call("export-vllm", "stored", str(tmp_path / "changed"), "--retention-ratio", "0.1"))
    assert "stride" in changed[0]
    assert "retention_ratio 0.1" in changed[0]
    code, out, err = call("export-vllm", "model", str(served), *QUARTER)
    assert (code, out) == (1, "")
    assert "holds files already; name a new folder" in err


def test_the_models_own_files_are_served_with_overrides(call: Callable[..., Any]) -> None:
    (line,) = printed(call("serve", "model", *QUARTER, "--dry-run", "--", "--port", "8001", "--dry-run", "a b"))
    words = shlex.split(line)
    assert "model" in words[:5]
    assert words[-4:] == ["--port", "8001", "--dry-run", "a b"]
    assert overrides(line)["architectures"] == ["HfTokcompQwen2AudioForConditionalGeneration"]
    assert overrides(line)["audio_compression"]["retention_ratio"] == 0.25
    assert "compression_config" not in overrides(line)
    assert "--video-pruning-rate" not in words
    (line,) = printed(call("serve", "stored", "--dry-run"))
    assert overrides(line)["compression_config"] is None
    assert overrides(line)["text_config"]["rope_parameters"]["mrope_section"] == [16, 0, 0]
    assert line.endswith("--video-pruning-rate 0.5")


def test_an_exported_folder_needs_none(call: Callable[..., Any], tmp_path: Path) -> None:
    served = str(tmp_path / "served")
    printed(call("export-vllm", "model", served, *QUARTER))
    (line,) = printed(call("serve", served, "--dry-run"))
    assert shlex.split(line)[-1] == served
    (line,) = printed(call("serve", served, "--dry-run", "--compression", "stride"))
    assert overrides(line)["audio_compression"]["method"] == "stride"


def test_options_from_a_file(call: Callable[..., Any]) -> None:
    (line,) = printed(call("serve", "--config", "serve.yaml", "--", "--port", "1"))
    assert overrides(line)["audio_compression"]["method"] == "ltbm"
    assert line.endswith("--port 1")


@needs_small_model
def test_the_shipped_model_is_exported_first(call: Callable[..., Any], home: Path) -> None:
    """What is printed can be typed, and is then not needed again; another compression has another folder."""
    export, serve = printed(call("serve", *QUARTER, "--dry-run"))
    program, *words = shlex.split(export)
    assert program == "hf-tokcomp"
    target = Path(words[2])
    assert target.parent == home / "hf_tokcomp" / "vllm"
    assert not target.exists()
    assert f"{target} --served-model-name digits_and_sounds" in serve
    printed(call(*words))
    assert printed(call("serve", *QUARTER, "--dry-run")) == [serve]
    other, _ = printed(call("serve", "--compression", "stride", "--dry-run"))
    assert shlex.split(other)[3] != str(target)


@needs_small_model
def test_a_folder_of_ones_own_is_used_again_while_it_is_right(call: Callable[..., Any], tmp_path: Path) -> None:
    source, target = tmp_path / "source", str(tmp_path / "target")
    shutil.copytree(SMALL_MODEL, source)
    options = (str(source), "--folder", target, "--dry-run")
    export, serve = printed(call("serve", *options, *QUARTER))
    printed(call(*shlex.split(export)[1:]))
    assert printed(call("serve", *options, *QUARTER)) == [serve]
    assert len(printed(call("serve", *options, "--compression", "stride"))) == 2
    (source / "model.safetensors").touch()  # trained on
    assert len(printed(call("serve", *options, *QUARTER))) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("model",), "stores no compression: name one"),
        (("model", "--compression", "speechprune"), "the user's question"),
        (("model", "--compression", "conv_resampler"), "untrained"),
        (("model", "--compression", "ltbm+a_tome:threshold=0.9"), "as the audio's content asks for"),
        (("adapter", "--compression", "ltbm"), "is an adapter.*--enable-lora --lora-modules adapter=adapter"),
        (("gone", "--compression", "ltbm"), "There is no model folder 'gone'"),
    ],
)
def test_refusals_are_one_line_and_nothing_is_written(
    call: Callable[..., Any], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    name, *options = arguments
    for command in (["serve", name], ["export-vllm", name, str(tmp_path / "served")]):
        code, out, err = call(*command, *options)
        assert (code, out) == (1, ""), command
        assert err.count("\n") == 1
        assert re.search(said, err), err
    assert list(tmp_path.iterdir()) == []


@without_vllm
@needs_small_model
def test_without_vllm_it_says_what_to_install(call: Callable[..., Any], home: Path) -> None:
    code, out, err = call("serve", *QUARTER)
    assert (code, out) == (1, "")
    assert 'pip install "hf-tokcomp[serving]"' in err
    assert "docs/serving.md" in err
    assert list(home.iterdir()) == []
    assert printed(call("serve", "model", *QUARTER, "--dry-run"))[0].startswith("vllm serve model --hf-overrides ")
