"""`push_to_hub` of configs, compressed models and adapters: one commit, our card, and its program runs elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import soundfile
import tiny
import torch
import transformers
from hub_client import Hub
from huggingface_hub import ModelCard
from peft import LoraConfig, get_peft_model

import hf_tokcomp
from hf_tokcomp import CompressionConfig
from hf_tokcomp.cards import is_written, make_card
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings

LTBM = CompressionConfig(method="ltbm", retention_ratio=0.25)
BASE, REPO = "someone/base", "someone/name"
LORA = {"r": 2, "target_modules": r".*language_model.*\.(q_proj|v_proj)", "init_lora_weights": False}


@pytest.fixture
def base(hub_here: Hub) -> Hub:
    """The small model on the Hub, as `BASE`."""
    hub_here.put(BASE, {file.name: file.read_bytes() for file in SMALL_MODEL.iterdir() if file.is_file()})
    return hub_here


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, rate = soundfile.read(recordings()[0][0])
    soundfile.write(tmp_path / "question.wav", samples, rate)
    monkeypatch.chdir(tmp_path)


def readme(hub: Hub, revision: str = "main") -> str:
    return hub.files(REPO, revision)["README.md"].decode()


def run(card: str) -> Any:
    """Run the program on a card; its model, its inputs and what was generated."""
    (program,) = re.findall(r"^```python\n(.*?)^```$", card, re.DOTALL | re.MULTILINE)
    namespace: dict[str, Any] = {}
    exec(program, namespace)
    return namespace["model"], namespace["inputs"], namespace["output"]


def small(**options: Any) -> Any:
    return transformers.Qwen2AudioForConditionalGeneration.from_pretrained(BASE, **options)


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize("with_processor", [True, False])
def test_a_model(base: Hub, with_processor: bool) -> None:
    model = small(compression=LTBM)
    options = {"processor": transformers.AutoProcessor.from_pretrained(BASE)} if with_processor else {}
    loaded = base.repositories[BASE].refs["main"]
    commit = model.push_to_hub(REPO, commit_message="Ours", base_revision=loaded, base_model=BASE, **options)
    assert len(base.repositories[REPO].commits) == 2
    assert commit.startswith(f"{base.endpoint}/{REPO}/commit/")
    assert not is_written(readme(base))
    assert ModelCard(readme(base)).data.base_model == BASE
    assert f"revision `{loaded}`" in readme(base)
    assert ("processor_config.json" in base.files(REPO)) is with_processor
    loaded, inputs, output = run(readme(base))
    assert hf_tokcomp.active_config(loaded) == LTBM
    assert torch.equal(model.generate(**inputs, max_new_tokens=64), output)


def test_a_model_whose_processor_follows(base: Hub) -> None:
    hf_tokcomp.patch(transformers.Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL), LTBM).push_to_hub(
        REPO
    )
    card = readme(base)
    assert f'AutoProcessor.from_pretrained("{REPO}")' in card
    transformers.AutoProcessor.from_pretrained(SMALL_MODEL).push_to_hub(REPO)
    assert ModelCard(readme(base)).text == ModelCard(card).text
    assert str(SMALL_MODEL) not in readme(base)


def test_a_processor_first_leaves_a_template_that_is_replaced(base: Hub) -> None:
    transformers.AutoProcessor.from_pretrained(SMALL_MODEL).push_to_hub(REPO)
    assert "More Information Needed" in readme(base)
    small(compression=LTBM).push_to_hub(REPO, tags=["digits"], license="mit")
    data = ModelCard(readme(base)).data
    assert "More Information Needed" not in readme(base)
    assert (data.library_name, data.license) == ("transformers", "mit")
    assert data.tags == ["hf_tokcomp", "audio-token-compression", "ltbm", "digits"]


def test_upstreams_own_keywords(base: Hub) -> None:
    model = small(compression=LTBM)
    model.push_to_hub(REPO, private=True, revision="tried", commit_description="why", max_shard_size="1MB")
    assert base.repositories[REPO].private
    assert base.files(REPO) == {}
    assert "model.safetensors.index.json" in base.files(REPO, "tried")
    assert f'"{REPO}", revision="tried"' in readme(base, "tried")
    model.push_to_hub(REPO, create_pr=True)
    assert base.files(REPO) == {}
    assert "model.safetensors" in base.files(REPO, "refs/pr/1")


def test_a_model_without_compression_is_pushed_as_ever(base: Hub) -> None:
    model = small(compression=LTBM)
    hf_tokcomp.unpatch(model)
    assert "push_to_hub" not in model.__dict__
    model.push_to_hub(REPO)
    assert "More Information Needed" in readme(base)
    with pytest.raises(ValueError, match="This model is not compressed: patch it first"):
        hf_tokcomp.push_to_hub(model, REPO)
    get_peft_model(model, LoraConfig(**LORA)).push_to_hub("someone/adapter")
    assert "compression_config.json" not in base.files("someone/adapter")
    assert "More Information Needed" in base.files("someone/adapter")["README.md"].decode()


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize("revision", [None, "v1"])
def test_an_adapter(base: Hub, revision: str | None) -> None:
    if revision is not None:
        base.put(BASE, {}, revision=revision)
    torch.manual_seed(0)
    adapted = get_peft_model(small(compression=LTBM), LoraConfig(revision=revision, **LORA)).eval()
    adapted.push_to_hub(REPO)
    assert len(base.repositories[REPO].commits) == 2
    assert set(base.files(REPO)) == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "compression_config.json",
    }  # fmt: skip
    data = ModelCard(readme(base)).data
    assert (data.library_name, data.base_model) == ("peft", BASE)
    if revision is not None:
        base.put(BASE, {"config.json": "{}"})  # breaks it for those who ignore the revision
    loaded, inputs, output = run(readme(base))
    assert hf_tokcomp.active_config(loaded) == LTBM
    assert torch.equal(adapted.generate(**inputs, max_new_tokens=64), output)
    assert not torch.equal(small(compression=LTBM, revision=revision).generate(**inputs, max_new_tokens=64), output)


def test_an_adapter_of_a_folder(base: Hub, caplog: pytest.LogCaptureFixture) -> None:
    model = transformers.Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL, compression=LTBM)
    adapted = get_peft_model(model, LoraConfig(**LORA))
    with pytest.raises(ValueError, match="which others do not have"):
        hf_tokcomp.push_to_hub(adapted, REPO)
    assert REPO not in base.repositories
    adapted.push_to_hub(REPO)
    assert "which others do not have" in caplog.text
    assert 'base="path/to/its/base/model"' in readme(base)
    assert not [name for name, content in base.files(REPO).items() if str(SMALL_MODEL).encode() in content]
    assert json.loads(base.files(REPO)["adapter_config.json"])["base_model_name_or_path"] is None
    adapted.push_to_hub(REPO, base_model=BASE)
    assert json.loads(base.files(REPO)["adapter_config.json"])["base_model_name_or_path"] == BASE
    assert hf_tokcomp.active_config(hf_tokcomp.load_adapter(REPO)) == LTBM


def test_a_written_card_stays(base: Hub) -> None:
    base.put(REPO, {"README.md": "Mine."})
    model = small(compression=LTBM)
    model.push_to_hub(REPO)
    LTBM.push_to_hub(REPO)
    assert readme(base) == "Mine."
    model.push_to_hub(REPO, overwrite_card=True)
    assert not is_written(readme(base))


def test_a_config(base: Hub) -> None:
    LTBM.push_to_hub(REPO)
    assert readme(base) == make_card(LTBM, REPO)
    assert len(base.repositories[REPO].commits) == 2
    stride = CompressionConfig(method="stride")
    stride.push_to_hub(REPO, subfolder="stride")
    assert readme(base) == make_card(LTBM, REPO)
    stride.push_to_hub(REPO, revision="stride")
    assert readme(base) == make_card(LTBM, REPO)
    assert f'compression="{REPO}@stride"' in readme(base, "stride")
    hf_tokcomp.push_to_hub(stride, REPO, base_model=BASE)
    assert readme(base) == make_card(stride, REPO, base_model=BASE)


def test_a_config_does_not_take_a_models_card(base: Hub) -> None:
    small(compression=LTBM).push_to_hub(REPO)
    card = readme(base)
    CompressionConfig(method="stride").push_to_hub(REPO)
    assert readme(base) == card
    base.put(REPO, {"README.md": None})
    for push in (CompressionConfig.push_to_hub, hf_tokcomp.push_to_hub):
        for revision in (None, "new branch"):
            push(CompressionConfig(method="stride"), REPO, revision=revision)
            assert "README.md" not in base.files(REPO, revision or "main")


def test_a_folder(base: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    tiny.model("qwen2_audio").save_pretrained(folder)
    hf_tokcomp.push_to_hub(folder, REPO, compression=LTBM, base_model=BASE)
    loaded = transformers.Qwen2AudioForConditionalGeneration.from_pretrained(REPO)
    assert hf_tokcomp.active_config(loaded) == LTBM
    assert {file.name for file in folder.iterdir()} == {"config.json", "generation_config.json", "model.safetensors"}
    CompressionConfig(method="stride").save_pretrained(folder)
    with pytest.raises(ValueError, match=r"The folder's compression_config\.json has .*stride"):
        hf_tokcomp.push_to_hub(folder, REPO, compression=LTBM, base_model=BASE)


def test_no_temporary_folder_is_left(base: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    base.fail("/commit/", times=None)
    with pytest.raises(OSError, match="It is one commit: all of it is there, or nothing"):
        small(compression=LTBM).push_to_hub(REPO)
    assert list(temporary.iterdir()) == []
    assert base.files(REPO) == {}
