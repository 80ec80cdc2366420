"""Every model by every command: tiny checkpoint folders are fine-tuned, evaluated, saved, shared, drawn and timed.

Nothing is mocked. A processor that needs torchvision or torchaudio is the subject's, which goes without.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import jiwer
import pytest
import soundfile
import transformers
from safetensors.torch import load_file
from subjects import is_too_new
from subjects.checkpoints import folder_of

import hf_tokcomp
from hf_tokcomp import CompressionConfig
from hf_tokcomp.cards.card import CompressionCard
from hf_tokcomp.cli import main
from hf_tokcomp.inference.collator import AudioTextCollator
from hf_tokcomp.inference.prompts import model_inputs, whole_prompt
from hf_tokcomp.models.base import ModelPatch
from hf_tokcomp.models.registry import PATCHES, load_patch
from hf_tokcomp.sharing.pack import pack
from hf_tokcomp.testing import sound

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")
RATE = 16_000
POOLING = {"method": "average_pooling", "retention_ratio": 0.5}
HALF = ("--compression", POOLING["method"], "--retention-ratio", "1/2")
SHORT = ("--max-new-tokens", "4", "--device", "cpu")
TRUTHS = {0.9: "a b c", 1.7: "what is this", 0.6: "g"}
"""What is said in recordings of these lengths."""
EVERY = sorted(set(PATCHES) - {"qwen2_audio", "whisper"})
"""Without the type of the shipped model, that the other tests use, and the one in `test_whisper_commands.py`."""
ALONE = [name for name in EVERY if type(load_patch(PATCHES[name])).inner is ModelPatch.inner]
"""Models that are no composites of several."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings and a table of them."""
    made = tmp_path_factory.mktemp("recordings")
    rows = []
    for number, (seconds, text) in enumerate(TRUTHS.items()):
        soundfile.write(made / f"{number}.wav", sound(seconds, number), RATE)
        rows.append({"audio": f"{number}.wav", "text": text})
    for split in ("train", "test"):
        (made / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (made / "question.wav").write_bytes((made / "0.wav").read_bytes())
    return made


@cache
def adapter_of(model_type: str, data: Path) -> Path:
    """An adapter for the checkpoint of a model, trained for two steps by the command."""
    made = Path(mkdtemp()) / "adapter"
    given = ["finetune", "--model", folder_of(model_type), "--dataset", data, "--eval-split", "test", *HALF]
    given += ["--max-steps", 2, "--learning-rate", 0.01, "--adapt", "language_model", "projector", "audio_tower"]
    given += ["--max-new-tokens", 4, "--report-to", "none", "--use-cpu", "--output-dir", made]
    assert main([str(word) for word in given]) == 0
    return made


def half(tokens: int) -> int:
    return (tokens + 1) // 2


def loaded(model_type: str, name: Any, **options: Any) -> tuple[Any, Any]:
    """Model and processor, as a user loads them."""
    processor = transformers.AutoProcessor.from_pretrained(name)
    if (Path(name) / "adapter_config.json").exists():
        return hf_tokcomp.load_adapter(name, **options).eval(), processor
    model_class = getattr(transformers, load_patch(PATCHES[model_type]).model_classes[0])
    return model_class.from_pretrained(name, **options).eval(), processor


def answers(model: Any, processor: Any, data: Path, instruction: str) -> list[str]:
    """What the model says, one recording at a time, in upstream's words: no code of ours but the keyword's."""
    patch = hf_tokcomp.models.instance.patch_of(hf_tokcomp.models.instance.unwrap(model))
    texts = []
    for number in range(len(TRUTHS)):
        samples, _ = soundfile.read(data / f"{number}.wav", dtype="float32")
        prompt = whole_prompt(processor, patch, instruction)
        inputs = model_inputs(processor, [prompt], [samples], RATE)
        ids = patch.inner(model).generate(**inputs, max_new_tokens=4, do_sample=False)
        texts.append(processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])
    return [text.strip() for text in texts]


def evaluated(name: Path, data: Path, *options: str) -> dict[str, dict[str, Any]]:
    """By compression: the answers to the recordings, and the score."""
    out = Path(mkdtemp())
    given = ["eval", "asr", "--model", name, "--dataset", data / "test.jsonl", "--output", out, *options, *SHORT]
    given += ["--batch-size", 1]  # Granite Speech's own encoder hears the padding of a batch
    assert main([str(word) for word in given]) == 0
    rows = [json.loads(line) for line in (out / "answers-0.jsonl").read_text(encoding="utf-8").splitlines()]
    found: dict[str, dict[str, Any]] = {}
    for score in json.loads((out / "results.json").read_text(encoding="utf-8"))["scores"]:
        own = sorted((row for row in rows if row["run"].startswith(score["method"])), key=lambda row: int(row["item"]))
        found[score["method"]] = {**score, "texts": [row["text"] for row in own]}
    return found


@pytest.mark.parametrize("model_type", ALONE)
def test_finetuning_trains_every_part_and_measures(model_type: str, folder: Path) -> None:
    adapter = adapter_of(model_type, folder)
    weights = load_file(adapter / "adapter_model.safetensors")
    targets = load_patch(PATCHES[model_type]).lora_targets
    for part in ("language_model", "projector", "audio_tower"):
        changed = [
            bool(value.any())
            for name, value in weights.items()
            if "lora_B" in name and re.fullmatch(targets[part], name.rpartition(".lora_B")[0])
        ]
        assert changed, f"{part}: nothing was adapted"
        assert sum(changed) > 0.5 * len(changed), f"{part}: nothing was learned"
    measured = json.loads((adapter / "metrics.json").read_text(encoding="utf-8"))
    assert measured["metrics"]["tokens_kept"] == pytest.approx(0.5, abs=0.05)
    assert {"wer", "exact_match"} <= set(measured["metrics"]) & set(measured["before"])
    rate = load_patch(PATCHES[model_type]).frame_rate
    card = (adapter / "README.md").read_text(encoding="utf-8")
    assert f"| tokens per second | {rate:g} before, {round(30 * rate * 0.5) / 30:.3g} after |" in card


@pytest.mark.parametrize("model_type", ALONE)
def test_an_answer_is_learned_with_its_end(model_type: str) -> None:
    _, processor = loaded(model_type, folder_of(model_type), compression="none")
    batch = AudioTextCollator(processor, "what")([{"audio": sound(0.9, 0), "text": "a b c"}])
    learned = batch["labels"][0][batch["labels"][0] != -100].tolist()
    assert learned[-1] == processor.tokenizer.eos_token_id
    assert processor.tokenizer.decode(learned, skip_special_tokens=True).strip() == "a b c"


@pytest.mark.parametrize("model_type", EVERY)
def test_eval_scores_what_the_model_says(model_type: str, folder: Path) -> None:
    found = evaluated(folder_of(model_type), folder, *HALF, "--prompt", "what is this")
    for method in ("none", "average_pooling"):
        compression = POOLING if method == POOLING["method"] else method
        model, processor = loaded(model_type, folder_of(model_type), compression=compression)
        assert found[method]["texts"] == answers(model, processor, folder, "what is this")
        wanted = 100 * jiwer.wer(list(TRUTHS.values()), found[method]["texts"])
        assert found[method]["value"] == pytest.approx(wanted)
    assert found["average_pooling"]["kept"] == pytest.approx(0.5, abs=0.05)
    assert found["average_pooling"]["texts"] != found["none"]["texts"], "compression makes no difference here"


@pytest.mark.parametrize("model_type", ALONE)
def test_an_adapter_is_evaluated_merged_saved_and_loaded(model_type: str, folder: Path, tmp_path: Path) -> None:
    adapter = adapter_of(model_type, folder)
    prompt = json.loads((adapter / "prompt.json").read_text(encoding="utf-8"))["prompt"]
    model, processor = loaded(model_type, adapter)
    said = answers(model, processor, folder, prompt)
    assert evaluated(adapter, folder)["average_pooling"]["texts"] == said
    merged = model.merge_and_unload()
    assert said == answers(merged, processor, folder, prompt)
    merged.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = loaded(model_type, tmp_path)
    assert hf_tokcomp.active_config(again[0]) == CompressionConfig.from_dict(POOLING)
    assert said == answers(*again, folder, prompt)
    base = loaded(model_type, folder_of(model_type), compression=POOLING)
    assert said != answers(*base, folder, prompt), "training makes no difference here"


@pytest.mark.parametrize("model_type", EVERY)
def test_a_saved_compressed_model_runs_as_it_did(
    model_type: str, folder: Path, tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    model, processor = loaded(model_type, folder_of(model_type), compression=POOLING)
    said = answers(model, processor, folder, "what is this")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert answers(*loaded(model_type, tmp_path), folder, "what is this") == said
    files = [f"{number}.wav" for number in range(len(TRUTHS))]
    code, out, err = call("run", *files, "--model", str(tmp_path), "--prompt", "what is this", *SHORT, "--json")
    assert code == 0, err
    readings = json.loads(out)["results"]
    assert [reading["text"] for reading in readings] == said
    patch = load_patch(PATCHES[model_type])
    for reading, seconds in zip(readings, TRUTHS, strict=True):
        counted = patch.window_tokens(patch.mel_frames(processor, round(seconds * RATE)))
        if not patch.audio_spans_windows:
            assert reading["tokens_before"] == counted
        assert reading["tokens_after"] == half(reading["tokens_before"])


@pytest.mark.parametrize("whole", [False, True], ids=["a question", "a whole prompt"])
@pytest.mark.parametrize("model_type", EVERY)
def test_the_program_on_a_card_asks_as_the_command_does(
    model_type: str, whole: bool, folder: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    name, patch = folder_of(model_type), load_patch(PATCHES[model_type])
    prompt = f"please {patch.prompt.format(text=' tell')} me" if whole else "what is this"
    config = CompressionConfig.from_dict(POOLING)
    card = CompressionCard(
        repo_id="someone/x", config=config, base_model="someone/base", model_type=model_type, prompt=prompt
    )
    program = card.snippet().replace('"someone/x"', repr(POOLING)).replace('"someone/base"', repr(str(name)))
    program = program.replace('device_map="auto"', 'device_map="cpu"').replace("max_new_tokens=64", "max_new_tokens=4")
    code, out, err = call("run", "question.wav", "--model", str(name), "--prompt", prompt, *HALF, *SHORT, "--json")
    assert code == 0, err
    said: list[str] = []
    exec(compile(program, "card", "exec"), {"print": said.append})
    assert said[0].strip() == json.loads(out)["results"][0]["text"]


@pytest.mark.parametrize("model_type", ALONE)
def test_an_adapter_is_shared_with_what_its_processor_needs(model_type: str, folder: Path) -> None:
    adapter = adapter_of(model_type, folder)
    package = pack("someone/x", folder=adapter, base_model="someone/base")
    left = mkdtemp()
    for name, content in package.files.items():
        (Path(left) / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    there, here = (transformers.AutoProcessor.from_pretrained(place) for place in (left, adapter))
    assert type(there.tokenizer) is type(here.tokenizer)
    assert there.tokenizer("a b c")["input_ids"] == here.tokenizer("a b c")["input_ids"]


@pytest.mark.parametrize("model_type", EVERY)
def test_pictures_speed_and_comparisons(
    model_type: str, folder: Path, tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    given = ("--model", str(folder_of(model_type)), "--compression", "stride", "--device", "cpu")
    code, out, err = call("plot", "0.wav", *given, "--max-new-tokens", "4", "--output", str(tmp_path / "tokens.png"))
    assert code == 0, err
    assert "stride on 0.9 s" in out
    code, out, err = call("compare", "0.wav", *given, "--retention-ratio", "1/2", "--max-new-tokens", "4", "--json")
    assert code == 0, err
    halves = {(row["tokens_after"], row["run"].partition("@")[0]) for row in json.loads(out)["answers"]}
    assert len(halves) == 2
    timed = ("--new-tokens", "2", "--rounds", "1", "--seconds", "0.01", "--audio-seconds", "1", "--json")
    code, out, err = call("bench", *given, *timed)
    assert code == 0, err
    patch = load_patch(PATCHES[model_type])
    rows = json.loads(out)["rows"]
    assert [row["candidate"] for row in rows] == ["uncompressed", "stride"]
    assert rows[1]["tokens_after"] == [half(rows[0]["tokens_before"][0])]
    if model_type != "voxtral":  # whose windows are always full
        assert rows[0]["tokens_before"] == [pytest.approx(patch.frame_rate, abs=2)]


def test_the_list_of_models_says_what_is_needed(call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = call("models", "--json")
    assert code == 0
    listed = {row["model_type"]: row for row in json.loads(out)}
    assert set(listed) == set(PATCHES)
    for model_type, row in listed.items():
        assert row["accepted"] == (not is_too_new(model_type))
        assert (row["since"], row["packages"]) == (
            load_patch(PATCHES[model_type]).since,
            list(load_patch(PATCHES[model_type]).packages),
        )
    assert listed["voxtral"]["packages"] == ["mistral-common[audio]"]
    code, out, _ = call("models")
    needs = out.partition("besides a plain install")[2]
    assert re.search(r"qwen2_5_omni +5\.23\.0 or newer +torchvision", needs)
    assert "qwen2_audio" not in needs
