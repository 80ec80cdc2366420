"""`export`: a folder that vLLM serves and transformers reads. Needs no vLLM."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import pytest
import tiny
import torch
from huggingface_hub import constants
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from shipped import needs_small_model
from shipped_questions import shipped_answers, shipped_audio
from subjects.checkpoints import folder_of
from transformers import AutoConfig, AutoProcessor, Qwen2AudioForConditionalGeneration

import hf_tokcomp
from hf_tokcomp.checkpoints import SMALL_MODEL
from hf_tokcomp.errors import CompressionConfigError, CompressorWeightsError, UnsupportedModelError
from hf_tokcomp.serving.vllm import ARCHITECTURES, export
from hf_tokcomp.serving.vllm.command import server_command
from hf_tokcomp.serving.vllm.heads import HEADS_ON_CPU
from hf_tokcomp.serving.vllm.plan import make_plan

LTBM = {"method": "ltbm", "retention_ratio": 0.25}
ORIGINAL = {"method": "top_k", "positions": "original"}
WIDE = 128
"""A hidden size of four heads of 32, which vLLM takes."""
DOUBLED, PUBLISHED = "language_model.model.model.", "language_model.model."


def save(folder, kind="qwen2_audio", model=None, hidden=WIDE, **options):
    """A model's folder with its processor, and the model."""
    model = tiny.model(kind, hidden=hidden) if model is None else model
    model.save_pretrained(folder, **options)
    tiny.processor(kind).save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        rename(file, DOUBLED, PUBLISHED)
    for file in folder.glob("*.index.json"):
        file.write_text(file.read_text().replace(DOUBLED, PUBLISHED))
    return model


def rename(file, old, new):
    """Change the names of weights."""
    weights = {name.replace(old, new): weight for name, weight in load_file(file).items()}
    save_file(weights, file, {"format": "pt"})


def names_in(file):
    with safe_open(file, "pt") as opened:
        return set(opened.keys())


def settings(folder):
    return json.loads((folder / "config.json").read_text())


def there(folder):
    """Everything in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model as published."""
    folder = tmp_path_factory.mktemp("models") / "qwen2_audio"
    save(folder)
    (folder / "prompt.json").write_text('{"prompt": "What is said?"}')
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    (folder / "optimizer.pt").write_bytes(b"0")
    (folder / ".hidden").write_text("0")
    return folder


def same_answers(folder, model, kind="qwen2_audio", compression=None):
    """A folder loads in transformers without a word, and is the model; under the same compression, too."""
    said = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("transformers").addHandler(handler)
    try:
        loaded, info = type(model).from_pretrained(folder, output_loading_info=True)
        processor = AutoProcessor.from_pretrained(folder)
    finally:
        logging.getLogger("transformers").removeHandler(handler)
    assert said == []
    assert not any(info.values()), info
    assert hf_tokcomp.active_config(loaded) is None
    inputs = tiny.inputs(kind, [0.9, 0.4], of=processor)
    for each in ("none", compression or LTBM):
        with hf_tokcomp.compressed(model, each), hf_tokcomp.compressed(loaded, each):
            torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits, atol=1e-4, rtol=1e-4)
    return loaded


@pytest.mark.parametrize("compression", [LTBM, ORIGINAL], ids=["contiguous", "original"])
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_vllm_needs_no_overrides_and_transformers_reads_it(tmp_path, kind, compression):
    model = save(tmp_path / "model", kind)
    served = export(tmp_path / "model", tmp_path / "served", compression)
    values = settings(served)
    assert values["architectures"] == [ARCHITECTURES[kind]]
    config = hf_tokcomp.CompressionConfig.from_dict(compression)
    assert values["audio_compression"] == config.to_dict()
    assert "compression_config" not in values
    rope = values["text_config"]["rope_parameters"]
    assert rope.get("mrope_section") == ([16, 0, 0] if compression is ORIGINAL else None)
    assert make_plan(served, compression).overrides == {}
    same_answers(served, model, kind, compression)
    assert hf_tokcomp.active_config(type(model).from_pretrained(served, compression=served)) == config


def test_weights_are_linked_and_other_files_copied(folder, tmp_path):
    served = export(folder, tmp_path / "served", LTBM)
    assert (served / "model.safetensors").samefile(folder / "model.safetensors")
    assert not (served / "model.safetensors").is_symlink()
    given = {path.name for path in folder.iterdir()} - {"optimizer.pt", ".hidden"}
    assert set(there(served)) == given | {"compression_config.json"}
    for name in given - {"model.safetensors", "config.json"}:
        assert (served / name).read_bytes() == (folder / name).read_bytes()
        assert not (served / name).samefile(folder / name)


def test_on_another_file_system_links_are_symbolic(folder, tmp_path_factory, request):
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == folder.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    served = shared / f"hf_tokcomp-{os.getpid()}"
    request.addfinalizer(lambda: shutil.rmtree(served, ignore_errors=True))
    export(folder, served, LTBM)
    assert (served / "model.safetensors").is_symlink()
    same_answers(served, Qwen2AudioForConditionalGeneration.from_pretrained(folder))


@pytest.mark.parametrize("sharded", [False, True])
def test_names_of_transformers_5_19_become_the_published_ones(tmp_path, sharded):
    source = tmp_path / "model"
    model = save(source, **({"max_shard_size": "100KB"} if sharded else {}))
    published = {name for file in source.glob("*.safetensors") for name in names_in(file)}
    for file in source.glob("*.safetensors"):
        rename(file, PUBLISHED, DOUBLED)
    for file in source.glob("*.index.json"):
        file.write_text(file.read_text().replace(PUBLISHED, DOUBLED))
    for file in source.iterdir():
        file.chmod(0o644)
    before = {file.name: file.read_bytes() for file in source.iterdir()}
    served = export(source, tmp_path / "served", LTBM)
    files = sorted(served.glob("*.safetensors"))
    assert (len(files) > 2) == sharded
    assert {name for file in files for name in names_in(file)} == published
    linked = [file.samefile(source / file.name) for file in files]
    assert linked == [not any(DOUBLED in name for name in names_in(source / file.name)) for file in files]
    assert not all(linked)
    assert any(linked) == sharded
    assert {file.stat().st_mode & 0o777 for file in files} == {0o644}
    if sharded:
        index = json.loads((served / "model.safetensors.index.json").read_text())
        assert index["weight_map"] == {name: file.name for file in files for name in names_in(file)}
        total = sum(weight.nbytes for file in files for weight in load_file(file).values())
        assert index["metadata"]["total_size"] == total
    same_answers(served, model)
    assert {file.name: file.read_bytes() for file in source.iterdir()} == before


def test_pickled_weights_are_linked(tmp_path):
    source = tmp_path / "model"
    model = save(source)
    torch.save(load_file(source / "model.safetensors"), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    served = export(source, tmp_path / "served", LTBM)
    assert (served / "pytorch_model.bin").samefile(source / "pytorch_model.bin")
    same_answers(served, model)


def test_a_model_on_the_hub(tmp_path, hub_here, folder):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub_here.put("someone/model", {**files, "think/adapter_config.json": "{}", "consolidated.safetensors": b"0"})
    served = export("someone/model", tmp_path / "served", LTBM)
    assert there(served) == sorted({*files, "compression_config.json"} - {"optimizer.pt", ".hidden"})
    cached = [path for path in hub_here.cached() if path.endswith("model.safetensors")]
    assert len(cached) == 1
    assert (served / "model.safetensors").samefile(Path(constants.HF_HUB_CACHE, cached[0]))
    assert not (served / "model.safetensors").is_symlink()
    assert not any("consolidated" in path or "optimizer" in path for path in hub_here.cached())
    with pytest.raises(FileNotFoundError, match="no revision 'v2'"):
        export("someone/model@v2", tmp_path / "other", LTBM)
    assert there(tmp_path) == ["hub", "served"]


def test_the_stored_compression_is_the_default(tmp_path, folder):
    source = tmp_path / "model"
    save(source, model=hf_tokcomp.patch(tiny.model("qwen2_audio", hidden=WIDE), LTBM))
    assert settings(source)["compression_config"]["method"] == "ltbm"
    assert settings(export(source, tmp_path / "stored"))["audio_compression"]["method"] == "ltbm"
    assert settings(export(source, tmp_path / "given", "stride"))["audio_compression"]["method"] == "stride"
    assert settings(export(tmp_path / "given", tmp_path / "again"))["audio_compression"]["method"] == "stride"
    with pytest.raises(CompressionConfigError, match="stores no compression: name one"):
        export(folder, tmp_path / "none")
    assert make_plan(source).overrides["compression_config"] is None


def test_a_folder_is_written_whole_or_not_at_all(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    assert export(folder, tmp_path / "empty", LTBM) == tmp_path / "empty"
    before = there(tmp_path / "empty")
    with pytest.raises(FileExistsError, match="holds files already; name a new folder"):
        export(folder, tmp_path / "empty", "stride")
    assert there(tmp_path / "empty") == before
    assert settings(tmp_path / "empty")["audio_compression"]["method"] == "ltbm"
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        export(folder, tmp_path / "file", LTBM)
    source = tmp_path / "model"
    save(source)
    rename(source / "model.safetensors", PUBLISHED, DOUBLED)
    weights = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(OSError, match="could not be rewritten"):
        export(source, tmp_path / "deep" / "served", LTBM)
    assert there(tmp_path) == ["deep", "empty", "file", "model"]
    assert there(tmp_path / "deep") == []


@pytest.mark.parametrize(
    ("compression", "error", "message"),
    [
        ("speechprune", CompressionConfigError, "the user's question"),
        ({"method": "a_tome", "threshold": 0.9}, CompressionConfigError, "as the audio's content asks for"),
        ({"method": "nonsense"}, CompressionConfigError, "nonsense"),
        ("conv_resampler", CompressorWeightsError, "has no weights of a 'conv_resampler' compressor.*untrained"),
    ],
)
def test_what_vllm_would_refuse_is_not_written(tmp_path, folder, compression, error, message):
    with pytest.raises(error, match=message):
        export(folder, tmp_path / "served", compression)
    assert there(tmp_path) == []


def changed(source, tmp_path, **values):
    """A copy of a folder with other settings; a weight file is not needed to refuse it."""
    target = tmp_path / "changed"
    target.mkdir()
    for file in source.iterdir():
        if file.suffix == ".json":
            (target / file.name).write_bytes(file.read_bytes())
    (target / "config.json").write_text(json.dumps(settings(source) | values))
    return target


def test_models_that_cannot_be_served(tmp_path, folder):
    text = settings(folder)["text_config"]
    rope = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 10000.0}
    for name, values, compression, error, message in (
        ("type", {"model_type": "qwen2"}, LTBM, UnsupportedModelError, "'qwen2' is not served"),
        ("rope", {"text_config": text | {"rope_parameters": rope}}, ORIGINAL, CompressionConfigError, "type 'yarn'"),
        ("weights", {}, LTBM, FileNotFoundError, "has no weights"),
    ):
        (tmp_path / name).mkdir()
        source = changed(folder, tmp_path / name, **values)
        with pytest.raises(error, match=message):
            export(source, tmp_path / name / "served", compression)
        assert there(tmp_path / name) == ["changed"]
    save(tmp_path / "flamingo", "audioflamingo3")
    with pytest.raises(CompressionConfigError, match="reads long audio itself"):
        export(tmp_path / "flamingo", tmp_path / "served", LTBM | {"long_audio": "windows"})
    with pytest.raises(FileNotFoundError, match="There is no model folder"):
        export(tmp_path / "gone", tmp_path / "served", LTBM)
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        export(tmp_path, tmp_path / "served", LTBM)
    source = tmp_path / "no processor"
    tiny.model("qwen2_audio", hidden=WIDE).save_pretrained(source)
    with pytest.raises(FileNotFoundError, match="has no processor, which vLLM needs"):
        export(source, tmp_path / "served", LTBM)


def test_adapters_are_refused_with_what_to_do(tmp_path, hub_here):
    tuned = get_peft_model(tiny.model("qwen2_audio"), LoraConfig(target_modules=r".*language_model.*q_proj"))
    tuned.peft_config["default"].base_model_name_or_path = "someone/base"
    tuned.save_pretrained(tmp_path / "adapter")
    hub_here.put("someone/adapter", {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()})
    for name in (tmp_path / "adapter", "someone/adapter"):
        with pytest.raises(
            UnsupportedModelError, match=r"base model someone/base.*--lora-modules.*merge_and_unload\(\)"
        ):
            export(name, tmp_path / "served", LTBM)
    assert not (tmp_path / "served").exists()


def test_a_learned_compressors_weights_stay_with_it_alone(tmp_path):
    source = tmp_path / "model"
    model = hf_tokcomp.patch(tiny.model("qwen2_audio", hidden=WIDE), "conv_resampler")
    save(source, model=model)
    served = export(source, tmp_path / "learned")
    assert (served / "model.safetensors").samefile(source / "model.safetensors")
    loaded = type(model).from_pretrained(served, compression=served)
    torch.testing.assert_close(loaded.audio_compressor.state_dict(), model.audio_compressor.state_dict())
    plain = export(source, tmp_path / "plain", LTBM)
    kept = names_in(source / "model.safetensors") - {
        f"audio_compressor.{n}" for n in model.audio_compressor.state_dict()
    }
    assert names_in(plain / "model.safetensors") == kept
    same_answers(plain, hf_tokcomp.unpatch(model))
    with pytest.raises(CompressorWeightsError, match="do not fit"):
        export(source, tmp_path / "other", {"method": "conv_resampler", "layers": 1})
    assert not (tmp_path / "other").exists()


# heads


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_heads_that_vllm_does_not_take_are_doubled(tmp_path, kind):
    """Twice: heads of 8 become 32."""
    model = save(tmp_path / "model", kind, hidden=32)
    with torch.no_grad():  # such that the audio and every weight matter
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif "_proj.bias" in name or "linear" in name:
                parameter.normal_(0, 0.2)
    save(tmp_path / "wild", kind, model=model)
    served = export(tmp_path / "wild", tmp_path / "served", ORIGINAL)
    text = AutoConfig.from_pretrained(served).text_config
    assert (text.hidden_size, text.num_attention_heads, text.rms_norm_eps) == (128, 4, 1e-6 / 4)
    assert text.rope_parameters["rope_theta"] == 1e16
    assert text.rope_parameters["mrope_section"] == [16, 0, 0]
    same_answers(served, model, kind, ORIGINAL)
    assert make_plan(tmp_path / "wild", LTBM).must_be_exported
    assert not make_plan(served).must_be_exported


def test_heads_that_no_doubling_helps(tmp_path, folder):
    text = settings(folder)["text_config"]
    for name, values, message in (
        ("odd", {"hidden_size": 36}, "heads of 9.*no doubling makes one of 32, 64"),
        ("partial", {"hidden_size": 64, "head_dim": 40}, "cannot be rewritten with wider ones"),
        (
            "scaled",
            {"hidden_size": 160, "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            "cannot be rewritten with wider ones",
        ),
    ):
        (tmp_path / name).mkdir()
        source = changed(folder, tmp_path / name, text_config=text | values)
        with pytest.raises(UnsupportedModelError, match=message):
            export(source, tmp_path / name / "served", LTBM)
    assert list(tmp_path.glob("*/served")) == []


def test_weights_that_are_not_known_are_not_rewritten(tmp_path):
    source = tmp_path / "model"
    save(source, hidden=32)
    rename(source / "model.safetensors", "mlp.up_proj", "mlp.sideways_proj")
    with pytest.raises(UnsupportedModelError, match=r"sideways_proj\.weight does is not known"):
        export(source, tmp_path / "served", LTBM)
    torch.save(load_file(source / "model.safetensors"), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModelError, match="pickled weights are not read"):
        export(source, tmp_path / "served", LTBM)
    assert there(tmp_path) == ["model"]


@needs_small_model
def test_the_shipped_model_reads_the_same(tmp_path):
    served = export(SMALL_MODEL, tmp_path / "served", LTBM)
    text = AutoConfig.from_pretrained(served).text_config
    assert text.hidden_size // text.num_attention_heads == 80
    assert 80 in HEADS_ON_CPU
    model = Qwen2AudioForConditionalGeneration.from_pretrained(served)
    audio = shipped_audio()
    for compression in ("none", LTBM, ORIGINAL):
        assert shipped_answers(compression, audio, model) == shipped_answers(compression, audio)
    for name in ("prompt.json", "chat_template.jinja", "generation_config.json"):
        assert (served / name).read_bytes() == (SMALL_MODEL / name).read_bytes()


def test_voxtrals_tokenizer_is_named_to_vllm():
    pytest.importorskip("mistral_common", reason="the extra `voxtral` is not installed")
    plan = make_plan(folder_of("voxtral"), {"method": "ltbm", "positions": "original"})
    words = server_command(plan, Path("served"))
    assert words[-4:] == ["--tokenizer-mode", "mistral", "--video-pruning-rate", "0.5"]
