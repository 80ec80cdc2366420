"""What is decided before vLLM serves: overrides, refusals, counts, positions. Needs no vLLM."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import tomllib
from types import SimpleNamespace

import pytest
import tiny
import torch
from drawn import METHODS
from places import ROOT

import hf_tokcomp
import hf_tokcomp_plugins
from hf_tokcomp.config.notation import resolve_compression
from hf_tokcomp.errors import CompressionConfigError, UnsupportedModelError
from hf_tokcomp.ops.record import CompressedAudio
from hf_tokcomp.prompt.layout import AudioLayout
from hf_tokcomp.prompt.shorten import read_facts, shorten
from hf_tokcomp.serving.vllm import ARCHITECTURES, COMPRESSION_KEY, engine_args
from hf_tokcomp.serving.vllm.positions import corrected, first_positions, places_of, with_places
from hf_tokcomp.serving.vllm.served import PRUNING_ON, Served, budget_of, sections_of

ORIGINAL = {"method": "top_k", "positions": "original"}


def config_of(kind, **changes):
    config = copy.deepcopy(tiny.model(kind).config)
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def engine_config(hf_config, pruning=True, embeds=False, processor=None):
    """vLLM's `ModelConfig`, as far as it is read."""
    multimodal = SimpleNamespace(
        is_multimodal_pruning_enabled=lambda: pruning, enable_mm_embeds=embeds, mm_processor_kwargs=processor
    )
    return SimpleNamespace(hf_config=hf_config, multimodal_config=multimodal)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("compression", ["ltbm", ORIGINAL], ids=["contiguous", "original"])
def test_the_overrides_make_a_config_that_is_served(kind, compression):
    args = pickle.loads(pickle.dumps(engine_args(compression)))
    before = config_of(kind, compression_config={"method": "stride", "schema_version": 1})
    after = args.pop("hf_overrides")(before)
    assert after.architectures == [ARCHITECTURES[kind]]
    assert "compression_config" not in after.to_dict()
    served = Served.of(engine_config(after))
    assert served.config == hf_tokcomp.compressors.TopKConfig(positions="original") if args else True
    assert args == ({"video_pruning_rate": PRUNING_ON} if compression is ORIGINAL else {})
    rope = after.get_text_config().rope_parameters
    assert rope.get("mrope_section") == ([4, 0, 0] if compression is ORIGINAL else None)
    assert served.left_of(750) == 375


def test_a_config_of_mistrals_has_no_rope_parameters_yet():
    """vLLM makes them, after the overrides, of what else it has."""
    text = SimpleNamespace(head_dim=128, rope_theta=1e8)
    config = SimpleNamespace(model_type="voxtral", get_text_config=lambda: text)
    engine_args(ORIGINAL)["hf_overrides"](config)
    assert text.rope_parameters == {"rope_type": "default", "mrope_section": [64, 0, 0]}


def test_vllms_dummy_is_left_alone():
    config = SimpleNamespace(model_type="dummy_qwen2_audio")
    assert engine_args("ltbm")["hf_overrides"](config) is config
    assert vars(config) == {"model_type": "dummy_qwen2_audio"}


@pytest.mark.parametrize("method", [name for name in METHODS if name != "compose"])
def test_a_method_is_served_or_refused_by_name(method):
    known = hf_tokcomp.methods()[method]
    if known.deterministic_length and not known.needs & {"query", "first_layer"}:
        assert engine_args(method)
    else:
        with pytest.raises(CompressionConfigError, match=method):
            engine_args(method)


@pytest.mark.parametrize(
    ("compression", "message"),
    [
        ({"method": "a_tome", "threshold": 0.9}, "as the audio's content asks for.*Give it a budget"),
        (["stride", {"method": "a_tome", "threshold": 0.9}], "as the audio's content asks for"),
        ({"method": "cdpruner", "relevance": "query"}, "the user's question.*alone: a_tome, average_pooling, bottom_k"),
        (["stride", "speechprune"], "the user's question"),
    ],
)
def test_options_decide_too(compression, message):
    with pytest.raises(CompressionConfigError, match=message):
        engine_args(compression)


def test_models_that_are_not_there_yet_are_refused_by_name():
    for model_type in ("granite_speech", "glmasr", "musicflamingo", "qwen2"):
        with pytest.raises(UnsupportedModelError, match=f"'{model_type}' is not served under compression in vLLM yet"):
            engine_args("ltbm")["hf_overrides"](SimpleNamespace(model_type=model_type))
    with pytest.raises(UnsupportedModelError, match="'qwen2' is not served"):
        Served.of(engine_config(SimpleNamespace(model_type="qwen2", audio_compression={"method": "ltbm"})))


def refused(match, hf_config, **engine):
    with pytest.raises(CompressionConfigError, match=match):
        Served.of(engine_config(hf_config, **engine))


def test_an_engine_that_was_started_without_what_it_needs_is_refused():
    arch = [ARCHITECTURES["qwen2_audio"]]
    plain = config_of("qwen2_audio", architectures=arch)
    refused(f"config has no '{COMPRESSION_KEY}'", plain)
    for method, match in (("speechprune", "the user's question"), ("nonsense", "nonsense")):
        refused(match, config_of("qwen2_audio", architectures=arch, audio_compression={"method": method}))
    flamingo = config_of("audioflamingo3", audio_compression={"method": "ltbm", "long_audio": "windows"})
    refused("reads long audio itself", flamingo)
    padded = config_of("qwen2_audio", architectures=arch, audio_compression={"method": "ltbm", "padding_seconds": 1.0})
    refused("leave out padding_seconds", padded)
    ltbm = config_of("qwen2_audio", architectures=arch, audio_compression={"method": "ltbm"})
    refused("is for single requests.*--hf-overrides", ltbm, processor={COMPRESSION_KEY: {"max_tokens": 3}})
    original = config_of("qwen2_audio", architectures=arch, audio_compression=ORIGINAL)
    refused(r'add \{"text_config": \{"rope_parameters": \{"mrope_section": \[4, 0, 0\]', original)
    text = original.get_text_config()
    text.rope_parameters = {**text.rope_parameters, "mrope_section": sections_of(text)}
    assert Served.of(engine_config(original)).config.positions == "original"
    refused("--video-pruning-rate 0.5", original, pruning=False)
    refused("leave out enable_mm_embeds", original, embeds=True)
    text.rope_parameters = {**text.rope_parameters, "rope_type": "yarn"}
    refused("rotary embeddings of type 'yarn'", original)


def test_original_positions_of_a_thinker_belong_into_its_config():
    rotary = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
    text = SimpleNamespace(rope_parameters=rotary, head_dim=8)
    names = {"model_type": "qwen2_5_omni", "thinker_config": text, "audio_compression": ORIGINAL}
    config = SimpleNamespace(**names, architectures=[], get_text_config=lambda: text)
    refused(r'add \{"thinker_config": \{"text_config": \{"rope_parameters": \{"mrope_section": \[4, 0, 0\]', config)
    engine_args(ORIGINAL)["hf_overrides"](config)
    assert text.rope_parameters["mrope_section"] == [4, 0, 0]
    assert config.architectures == ["HfTokcompQwen2_5OmniThinkerForConditionalGeneration"]
    assert Served.of(engine_config(config)).config.positions == "original"


def test_counts_are_those_of_the_patched_processor():
    for kind, seconds in (("qwen2_audio", [0.9, 0.3]), ("audioflamingo3", [2.4, 0.3])):
        config = {"method": "average_pooling", "tokens_per_second": 7}
        served = Served(hf_tokcomp.CompressionConfig.from_dict(config), hf_tokcomp.supported_models()[kind])
        inputs = tiny.inputs(kind, seconds, of=hf_tokcomp.patch(tiny.processor(kind), config))
        mask = inputs[served.patch.feature_mask]
        windows = inputs.get("audio_windows")
        full = served.tokens_of(mask.sum(-1).tolist(), None if windows is None else windows.tolist())
        assert [served.left_of(n) for n in full] == inputs["audio_placeholders"].tolist()


def test_the_most_an_audio_can_have_is_not_always_that_of_the_longest():
    config = hf_tokcomp.CompressionConfig(method="segmentwise_top_k", segments=10)
    served = Served(config, hf_tokcomp.supported_models()["qwen2_audio"])
    counts = [served.left_of(n) for n in range(1, 751)]
    assert served.most_left_of(750) == max(counts)


def test_engines_under_different_compressions_do_not_share_encoder_outputs():
    patch = hf_tokcomp.supported_models()["qwen2_audio"]
    configs = ["ltbm", {"method": "ltbm", "window": 4}, {"method": "ltbm", "max_tokens": 5}, "top_k"]
    names = [
        Served(hf_tokcomp.CompressionConfig.from_dict({"method": c} if isinstance(c, str) else c), patch).name
        for c in configs
    ]
    assert len(set(names)) == len(names)


def served_by(compression):
    return Served(resolve_compression(compression), hf_tokcomp.supported_models()["qwen2_audio"])


@pytest.mark.parametrize(
    "budget", [{"retention_ratio": 1 / 3}, {"max_tokens": 7}, {"tokens_per_second": 2.5, "method": "ltbm"}]
)
def test_a_requests_budget_travels_exactly(budget):
    served = served_by({"method": "ltbm", "window": 4})
    wanted = served.of_request(budget)
    assert wanted == served.config.replace(**{k: v for k, v in budget.items() if k != "method"})
    travelled = torch.tensor([budget_of(wanted), budget_of(served.config)], dtype=torch.float64).tolist()
    assert served.with_budget(travelled[0]) == wanted
    assert served.with_budget(travelled[1]) is served.config
    assert served.of_request(None) is served.config
    served.check_left(wanted, [50, 100])


@pytest.mark.parametrize("compression", ["none", ["stride", "ltbm"], "conv_resampler"])
def test_an_engine_without_a_budget_travels_too(compression):
    served = served_by(compression)
    assert served.with_budget(torch.tensor(budget_of(served.config), dtype=torch.float64).tolist()) is served.config
    served.check_left(served.config, [750])


@pytest.mark.parametrize(
    ("compression", "given", "message"),
    [
        (
            "ltbm",
            {"method": "stride", "retention_ratio": 0.1},
            "compresses by 'ltbm', and a request chooses its budget",
        ),
        ("ltbm", [0.1], "compresses by 'ltbm'"),
        ("ltbm", {"window": 4}, "one of retention_ratio, tokens_per_second, max_tokens, and nothing else"),
        ("ltbm", {"retention_ratio": 0.1, "positions": "original"}, "and nothing else"),
        ("ltbm", {"retention_ratio": 0.1, "max_tokens": 3}, "and nothing else"),
        ("ltbm", {}, "and nothing else"),
        ("ltbm", {"retention_ratio": 2}, "retention_ratio"),
        ("ltbm", {"max_tokens": "all"}, "max_tokens"),
        ("none", {"retention_ratio": 0.1}, "takes no budget"),
        ("conv_resampler", {"retention_ratio": 0.1}, "has learned its number of tokens"),
    ],
)
def test_what_a_request_cannot_ask_for(compression, given, message):
    with pytest.raises(CompressionConfigError, match=message):
        served_by(compression).of_request(given)


def test_a_request_never_gets_more_than_the_server_leaves():
    served = served_by({"method": "ltbm", "max_tokens": 20})
    half = served.of_request({"retention_ratio": 0.5})
    served.check_left(half, [40, 1])
    with pytest.raises(CompressionConfigError, match=r"asks for 21 tokens of an audio of 41.* leaves at most 20"):
        served.check_left(half, [40, 41])


def test_an_adapter_of_another_compression():
    served = served_by("ltbm")
    served.check_adapter("tuned", None)
    served.check_adapter("tuned", served.config.replace(retention_ratio=0.5))
    with pytest.raises(CompressionConfigError, match=r"'tuned' was trained under .*0\.25.*0\.5.*compression_config"):
        served.check_adapter("tuned", served.config.replace(retention_ratio=0.25))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_places_travel_beside_embeddings(dtype):
    places = torch.tensor([0, 1, 127, 128, 255, 257, 749, 14999, 16384, 2_000_000])
    slots = torch.randn(10, 6, dtype=dtype)
    wide = with_places(slots, places)
    assert wide.dtype == dtype
    assert torch.equal(places_of(wide), places)
    assert torch.equal(wide[:, :6], slots)


def test_positions_are_those_of_the_patched_model():
    """Two audios, read in pieces, some of them twice: in the end every position is what `shorten` gives."""
    audio_token, full, left = 7, [6, 5], [3, 2]
    kept = [torch.tensor([1, 2, 5]), torch.tensor([0, 3])]
    ids = torch.tensor([[1, 2, *[7] * 6, 3, *[7] * 5, 4, 5]])
    audio = CompressedAudio(torch.zeros(2, 3, 1), left, torch.stack([kept[0], torch.tensor([0, 3, 0])]))
    facts = read_facts(ids, None, torch.tensor([6, 5]), audio_token)
    layout = AudioLayout(full, [0, 1], [0, 0], False)
    short = shorten(ids, None, None, facts=facts, layout=layout, audio=audio, pad_token=0, positions="original")
    is_audio = short.input_ids[0] == audio_token
    length = int(short.input_ids.shape[1])

    positions, delta = first_positions(length, [(6, 2, 5), (2, 3, 6)])
    assert length + delta == int(short.next_position)
    assert torch.equal(positions[0][~is_audio], short.position_ids[0][~is_audio])
    for computed, places in ((0, [kept[0][:2]]), (4, [kept[0][2:], kept[1]]), (0, [kept[0]]), (6, [kept[1]]), (8, [])):
        positions, again = corrected(positions, is_audio, computed, places)
        assert again == delta
    assert torch.equal(positions[0], short.position_ids[0])


def test_an_audio_at_the_end_of_a_prompt_counts_in_full():
    positions, delta = first_positions(5, [(2, 3, 100)])
    assert 5 + delta == 102
    positions, again = corrected(positions, torch.tensor([0, 0, 1, 1, 1]).bool(), 0, [torch.tensor([0, 50, 60])])
    assert again == delta
    assert positions[0].tolist() == [0, 1, 2, 52, 62]


def test_the_plug_in_is_light_and_complete():
    modules = {ARCHITECTURES[kind]: kind for kind in ARCHITECTURES}
    assert modules == hf_tokcomp_plugins.VLLM_MODELS
    for architecture, module in modules.items():
        source = (ROOT / "hf_tokcomp" / "serving" / "vllm" / f"{module}.py").read_text(encoding="utf-8")
        assert f"class {architecture}(" in source
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert points["vllm.general_plugins"] == {"hf_tokcomp": "hf_tokcomp_plugins:vllm_models"}
    heavy = "('torch', 'transformers', 'vllm', 'hf_tokcomp')"
    code = f"import sys, hf_tokcomp_plugins; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
