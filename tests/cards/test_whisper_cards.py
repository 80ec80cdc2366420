"""Cards of Whisper, which reads no prompt: what they say holds for it, and their programs run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import peft
import pytest
import soundfile
import tiny_whisper
import transformers
from hub_client import Hub
from huggingface_hub import ModelCard

import hf_tokcomp
from hf_tokcomp import CompressionConfig
from hf_tokcomp.cards import Measurement, Score, make_card
from hf_tokcomp.cli import main
from hf_tokcomp.models.base import ModelPatch
from hf_tokcomp.models.registry import PATCHES, load_patch
from hf_tokcomp.testing import sound
from hf_tokcomp.training import lora_config

HALF = CompressionConfig(method="ltbm", retention_ratio=0.5)
BASE = "someone/tiny-whisper"
RATE = 16_000


def card_of(config: CompressionConfig, **fields: Any) -> str:
    return make_card(config, "someone/half", base_model=BASE, model_type="whisper", **fields)


@pytest.fixture
def base(hub_here: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint, which is also on the Hub, in a working directory with the recording that programs read."""
    folder = tiny_whisper.save(tmp_path / "base")
    hub_here.put(BASE, {file.name: file.read_bytes() for file in folder.iterdir()})
    soundfile.write(tmp_path / "question.wav", sound(1.3, 0), RATE)
    monkeypatch.chdir(tmp_path)
    return folder


def said_by(card: str) -> str:
    """What the program of a card prints, as it stands; it has compressed."""
    (program,) = re.findall(r"^```python\n(.*?)^```$", card, re.DOTALL | re.MULTILINE)
    printed: list[str] = []
    namespace: dict[str, Any] = {"print": printed.append}
    exec(compile(program, "card", "exec"), namespace)
    assert hf_tokcomp.active_config(namespace["model"]) == HALF
    (said,) = printed
    assert said.strip()
    return said


def wanted(model: Any, folder: Path) -> str:
    processor = transformers.WhisperProcessor.from_pretrained(folder)
    inputs = processor(
        soundfile.read("question.wav")[0], sampling_rate=RATE, return_tensors="pt", return_attention_mask=True
    )
    return str(processor.batch_decode(model.eval().generate(**inputs), skip_special_tokens=True)[0])


# The programs


def test_the_program_of_a_config_runs(base: Path, hub_here: Hub) -> None:
    hub_here.put("someone/half", {"compression_config.json": HALF.to_json_string()})
    model = transformers.WhisperForConditionalGeneration.from_pretrained(base, compression=HALF)
    assert said_by(card_of(HALF)) == wanted(model, base)


def test_the_program_of_a_model_runs(base: Path, hub_here: Hub) -> None:
    model = transformers.WhisperForConditionalGeneration.from_pretrained(base, compression=HALF)
    model.push_to_hub("someone/half", processor=transformers.WhisperProcessor.from_pretrained(base))
    card = hub_here.files("someone/half")["README.md"].decode()
    assert "A speech recognition model that compresses its audio tokens" in card
    assert said_by(card) == wanted(model, base)


def test_the_program_of_an_adapter_runs(base: Path, hub_here: Hub, tmp_path: Path) -> None:
    model = transformers.WhisperForConditionalGeneration.from_pretrained(base, compression=HALF)
    adapted = peft.get_peft_model(model, lora_config(model, init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps(settings | {"base_model_name_or_path": BASE}), encoding="utf-8"
    )
    (tmp_path / "adapter" / "compression_config.json").write_text(HALF.to_json_string(), encoding="utf-8")
    files = {file.name: file.read_bytes() for file in (tmp_path / "adapter").iterdir()}
    hub_here.put("someone/half", files)
    assert said_by(card_of(HALF, kind="adapter")) == wanted(adapted, base)


@pytest.mark.usefixtures("libraries_as_they_were")
def test_the_command_knows_the_model_by_its_folder(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transformers.WhisperForConditionalGeneration.from_pretrained(base, compression=HALF).save_pretrained("saved")
    assert main(["card", "someone/half", "--folder", "saved", "--base-model", BASE]) == 0
    out = capsys.readouterr().out
    assert "pipeline_tag: automatic-speech-recognition" in out
    assert "50 % of an audio's 50 tokens a second" in out


# What they say


def test_results_are_of_speech_recognition() -> None:
    measured = [
        Measurement("Ten utterances", (Score("wer", 3.0, 3.0, unit="%"),)),
        Measurement("others", (Score("bleu", 20.0),), task="translation"),
    ]
    data = ModelCard(card_of(HALF, measurements=measured)).data
    assert data.library_name == "hf_tokcomp"
    assert data.pipeline_tag == "automatic-speech-recognition"
    assert [result.task_type for result in data.eval_results] == ["automatic-speech-recognition", "translation"]
    for patch in map(load_patch, PATCHES.values()):
        wanted = ModelPatch.pipeline_tag if patch.reads_prompts else "automatic-speech-recognition"
        assert patch.pipeline_tag == wanted


@pytest.mark.parametrize("positions", ["contiguous", "original"])
def test_nothing_is_said_of_a_prompt(positions: Any) -> None:
    card = card_of(HALF.replace(positions=positions), kind="adapter")
    text = card.partition("```json")[0] + card.partition("## Limits")[2]
    assert [word for word in ("| positions |", "renumber", "prompt", "Prefill", "announce") if word in text] == []
    assert ("has no effect" in card) == (positions == "original")
    assert "The cache of the decoder's cross-attention gets smaller" in card


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (HALF, "up to 1 s of it, `padding_seconds`, are read"),
        (HALF.replace(padding_seconds=0.5), "up to 0.5 s of it, `padding_seconds`, are read"),
        (HALF.replace(padding_seconds=0), "up to 0 s of it, `padding_seconds`, are read"),
        (CompressionConfig(method="none"), None),
    ],
)
def test_padding_that_is_read(config: CompressionConfig, said: str | None) -> None:
    found = re.findall(r"^\| padding \| (.*) besides the compressed sound \|$", card_of(config), re.MULTILINE)
    assert found == ([said] if said else [])
    assert "| padding |" not in make_card(HALF, "someone/half", model_type="qwen2_audio")


@pytest.mark.parametrize(("model_type", "rate"), [("whisper", "50"), ("qwen2_audio", "25"), ("voxtral", "12.5")])
def test_a_share_is_said_with_the_rate(model_type: str, rate: str) -> None:
    card = make_card(HALF, "someone/half", model_type=model_type)
    said = f"50 % of an audio's {rate} tokens a second"
    assert card.count(said) == 2
    assert f"kept: {said}." in card
    assert f"keep half of the {rate} tokens a second or more" in card
    chain = CompressionConfig.from_dict({"method": "compose", "stages": ["ltbm", "top_k"]})
    chained = make_card(chain, "someone/half", model_type=model_type)
    assert f"{said} by `ltbm`, then 50 % of what is left by `top_k`" in chained
