"""What the serving benchmark knows before a server is started: operations, memory, checkpoints, tables, refusals."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import toy_sizes as toy
import transformers
from test_operations import encoder, prefill, projector
from toy_sizes import TOY_SIZES

import hf_tokcomp
from hf_tokcomp.benchmarks.serving import memory, tables
from hf_tokcomp.benchmarks.serving.plan import ServingPlan
from hf_tokcomp.benchmarks.serving.subject import ServedModel, random_model, stored_model, tokens_of
from hf_tokcomp.benchmarks.serving.work import Weightless
from hf_tokcomp.benchmarks.speed.architectures import sizes_of
from hf_tokcomp.benchmarks.speed.sounds import draw_sound
from hf_tokcomp.cli import main
from hf_tokcomp.cli.bench_serving import find_served
from hf_tokcomp.config.encoder_options import EncoderOptions
from hf_tokcomp.errors import CompressionConfigError, UnsupportedModelError
from hf_tokcomp.evaluation.plan import plan

KINDS = list(TOY_SIZES)


def runs(*names: str, ratios: tuple[float, ...] = (0.25,)) -> Any:
    return plan(names, ratios, [], 1)[0]


@pytest.fixture(params=KINDS)
def served(request: pytest.FixtureRequest) -> ServedModel:
    return random_model(request.param, TOY_SIZES[request.param])


def test_operations_are_those_of_the_formulas(served: ServedModel) -> None:
    shapes = Weightless(served.config, served.patch)
    audio = served.audio(1.0)
    assert tokens_of(served.patch, audio) == 25
    found = shapes.operations(audio, 25, 35, 4, EncoderOptions())
    assert found["encoder"] == encoder(100)
    assert found["projector"] == projector(served.name, 25)
    # An engine's head reads the last column only, as Audio Flamingo 3's does in transformers.
    whole = prefill("audio-flamingo-3", 35, 1, causal=True)
    assert whole <= found["prefill"] <= 1.01 * whole
    linear = prefill("audio-flamingo-3", 1, 1, causal=False) - toy.LAYERS * 4 * toy.HIDDEN
    steps = sum(linear + toy.LAYERS * 4 * toy.HIDDEN * keys for keys in (36, 37, 38))
    assert steps <= found["decode"] <= 1.01 * steps, "three steps after the prefill"


def test_what_is_compressed_and_what_the_encoder_is_spared(served: ServedModel) -> None:
    shapes, audio = Weightless(served.config, served.patch), served.audio(1.0)
    plain, less, half = (
        shapes.operations(audio, slots, slots + 10, 4, options)
        for slots, options in ((25, EncoderOptions()), (5, EncoderOptions()), (5, EncoderOptions(stride=2)))
    )
    assert less["encoder"] == plain["encoder"]
    assert less["projector"] == plain["projector"] / 5
    assert less["prefill"] < plain["prefill"] / 2
    assert half == less | {"encoder": half["encoder"]}
    assert half["encoder"] < less["encoder"]


def test_a_model_of_any_size_takes_no_memory() -> None:
    """Qwen2-Audio of 8.4 billion parameters; its encoder and language model share the work about 1 to 5."""
    served = random_model("qwen2-audio-7b", sizes_of("qwen2-audio-7b"))
    shapes = Weightless(served.config, served.patch)
    assert shapes.parameters == pytest.approx(8.4e9, rel=0.01)
    found = shapes.operations(served.audio(30.0), 750, 780, 64, EncoderOptions())
    assert found["encoder"] == pytest.approx(2.27e12, rel=0.01)
    assert 4 < (found["prefill"] + found["decode"]) / found["encoder"] < 6


def test_several_windows(served: ServedModel) -> None:
    if not served.patch.audio_spans_windows:
        with pytest.raises(ValueError, match=r"reads 1 s of an audio at most, not 2\.5 s"):
            served.seconds(2.5)
        return
    audio = served.audio(served.seconds(2.5))
    assert tokens_of(served.patch, audio) == 62
    shapes = Weightless(served.config, served.patch)
    assert shapes.operations(audio, 62, 70, 1, EncoderOptions(skip_padding=False))["encoder"] == 3 * encoder(100)


def test_random_weights_are_a_folder_that_transformers_reads(served: ServedModel) -> None:
    with served.folder() as folder:
        config = transformers.AutoConfig.from_pretrained(folder)
        processor: Any = transformers.AutoProcessor.from_pretrained(folder)
        assert config.model_type == served.patch.model_type
        made = processor(text=processor.audio_token, audio=draw_sound(1.0, served.rate), return_tensors="pt")
        assert made["input_ids"].tolist() == [[3] * 25]
        assert served.prompt.count(3) == 1, "one placeholder, which the engine repeats"
    assert not Path(folder).exists()


def test_a_stored_model_is_read_without_its_weights(tmp_path: Path) -> None:
    tiny.model("qwen2_audio").config.save_pretrained(tmp_path)
    tiny.processor("qwen2_audio").save_pretrained(tmp_path)
    served = stored_model(str(tmp_path))
    assert (served.window_seconds, served.rate) == (1.0, 16000)
    assert isinstance(served.prompt, str)
    assert served.prompt.count("<|AUDIO|>") == 1
    assert tokens_of(served.patch, served.audio(1.0)) == 25


def test_what_a_token_takes_in_the_cache(served: ServedModel) -> None:
    assert memory.token_bytes(served.config.get_text_config()) == 2 * toy.LAYERS * toy.KEYS * 2


def test_how_many_fit_by_hand(served: ServedModel) -> None:
    """Of 1 GB, 0.9 are taken; 899 MB of work and the weights leave blocks of 16 tokens for 25, 13, 6 and 3 of audio."""
    assumed = memory.Assumed(working=899e6, text=20, answer=30)
    table = memory.memory_table(served, "Toy", assumed, gpus=(1, 0))
    weights = 2 * Weightless(served.config, served.patch).parameters
    blocks = (1_000_000 - weights) // (16 * 2 * toy.LAYERS * toy.KEYS * 2)
    assert blocks > 20
    expected = [(75, 5), (63, 4), (56, 4), (53, 4)]
    assert [(int(row[1]), int(row[2])) for row in table.rows] == expected
    assert [int(row[3]) for row in table.rows] == [(blocks - 1) // each for _, each in expected]
    assert {row[4] for row in table.rows} == {"0"}, "not even the weights"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"runs": runs("speechprune")}, "goes by the user's question"),
        ({"runs": plan(['{"method": "a_tome", "threshold": 0.9}'], [], [], 1)[0]}, "as the audio's content asks for"),
        ({"requests": 8}, "8 requests are fewer than 32 at a time"),
        ({"arrivals": [0.0]}, "more than 0 times"),
        ({"concurrency": [0]}, "At least one request"),
        ({"audio_seconds": -1.0}, "longer than 0 seconds"),
        ({"engine": {"dtype": "float32", "seed": 1}}, "itself sets dtype of the engine"),
    ],
)
def test_a_plan_that_cannot_be_measured(changes: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, CompressionConfigError), match=words):
        ServingPlan(**{"runs": runs("ltbm"), **changes})


def test_none_comes_first_and_last() -> None:
    planned = ServingPlan(runs=runs("ltbm", "none", ratios=(0.5, 0.25)))
    assert [(label, run.key.split("/")[0]) for label, run in planned.engines] == [
        ("none", "none@1"),
        ("ltbm", "ltbm@0.5"),
        ("ltbm", "ltbm@0.25"),
        ("none, again", "none@1"),
    ]


def test_models_that_are_not_measured() -> None:
    with pytest.raises(UnsupportedModelError, match="'whisper' is not served"):
        random_model("whisper", {"model_type": "whisper"})
    with pytest.raises(ValueError, match="name a model with --model or --random-weights"):
        find_served(None, None, None, "auto")


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKCOMP_DEBUG", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(("bench", *arguments))
        return (code, *capfd.readouterr())

    return run


VLLM = ("--engine", "vllm")


@pytest.mark.usefixtures("libraries_as_they_were")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            [*VLLM, "--batch-size", "2", "--rivals"],
            "--engine vllm has no use for them; leave out --batch-size, --rivals.",
        ),
        ([*VLLM, "--plot", "a.png"], "leave out --plot."),
        ([*VLLM, "--device", "cpu"], "leave out --device."),
        (["--concurrency", "2"], "--engine transformers has no use for them; leave out --concurrency."),
        (["--kv-blocks", "9", "--engine-args", "{}"], "leave out --kv-blocks, --engine-args."),
        ([*VLLM, "--full-size", "out"], "leave out --engine."),
        ([*VLLM, "--compression", "speechprune"], "goes by the user's question"),
        ([*VLLM, "--audio-seconds", "5,10"], "clips of one length"),
        ([*VLLM, "--engine-args", "[1]"], "a JSON object"),
        ([*VLLM, "--engine-args", "block_size=1"], "--engine-args is not JSON"),
        ([*VLLM, "--arrivals", "often"], "--arrivals: 'often' is not a number."),
        ([*VLLM, "--layers", "1"], "--layers is for --random-weights"),
    ],
)
def test_refused_in_a_line(call: Callable[..., Any], arguments: list[str], words: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("hf-tokcomp: error: ")
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.usefixtures("libraries_as_they_were")
@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_the_error_says_how_to_get_it(call: Callable[..., Any]) -> None:
    code, out, err = call(*VLLM, "--random-weights", "qwen2-audio-7b")
    assert (code, out) == (1, "")
    assert 'pip install "hf-tokcomp[serving]"' in err
    assert "docs/serving.md" in err


def test_tables_of_a_report_that_is_not_finished() -> None:
    speed = {"requests": 8, "requests_per_second": 2.0, "audio_seconds_per_second": 60.0}
    speed |= {part: {"median": 0.25, "p99": 1.0} for part in ("first_token", "end_to_end")}
    fixed = [{"concurrency": 1, "times_none": 1.0, **speed}]
    sizes = {"audio_tokens": 750, "prompt_tokens": 768, "blocks_per_request": 25, "at_once": 20, "at_once_bound": 21}
    engine = {
        "dtype": "float32",
        "block_size": 32,
        "kv_blocks": 526,
        "max_num_seqs": 16,
        "max_num_batched_tokens": 2048,
    }
    engine |= {"max_model_len": 900, "enforce_eager": True}
    work = {"operations": {"encoder": 2e9, "projector": 0.0, "prefill": 8e9, "decode": 0.0}, "bound": 1.0}
    arrivals = [{"factor": 0.5, "rate": 1.0, "in_time": 6, **speed}]
    row = {
        "candidate": "none",
        "retention_ratio": None,
        **sizes,
        **engine,
        **work,
        "fixed": fixed,
        "arrivals": arrivals,
    }
    report = {
        "machine": hf_tokcomp.reporting.machine.machine(torch.device("cpu")),
        "model": {"name": "toy", "layers": 2, "weights": "random", "parameters": 5_000_000},
        "plan": {"audio_seconds": 30.0, "concurrency": [1, 8], "arrivals": [0.5, 1.0], "requests": 8, "new_tokens": 16}
        | {"engine": {"block_size": 32}},
        "rows": [row],
        "noise": {"1": 0.05},
    }
    found = tables.tables(json.loads(json.dumps(report)))
    assert [table.title for table in found] == [
        "Requests at once, and operations of each, clips of 30 s",
        "Throughput, 1 at a time, clips of 30 s",
        "Random arrivals at 0.5 times the capacity without compression, clips of 30 s",
    ]
    assert found[0].rows == [["none", "-", "750", "768", "25", "526", "20", "21", "10.0", "100"]]
    assert found[1].rows == [["none", "-", "2.00", "60.0", "1.00", "1.00", "250", "1000", "250", "1000"]]
    assert found[2].rows == [["none", "-", "1.00", "2.00", "75", "250", "1000", "250", "1000"]]
    text = "\n".join(tables.notes(report))
    assert "Cut down to 2 layers" in text
    assert "differ by 5 % at 1 at a time" in text
    assert "block_size=32" in text
    assert "limits what runs at once" in text
    assert tables.tables(report | {"rows": []}) == []
