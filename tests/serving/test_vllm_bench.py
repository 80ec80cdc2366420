"""`hf-tokcomp bench --engine vllm`, and that what it measures is there; `make vllm-test` runs it."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make vllm-test` runs these tests")

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import heavy
import tiny
from engines import BLOCK, HERE, Question, engine, generate, saved
from toy_sizes import TOY_SIZES

from hf_tokcomp.benchmarks.serving.bounds import speedup_allowed
from hf_tokcomp.benchmarks.serving.subject import random_model
from hf_tokcomp.benchmarks.serving.work import Weightless
from hf_tokcomp.benchmarks.speed.architectures import sizes_of
from hf_tokcomp.config.encoder_options import EncoderOptions

METHOD = "segmentwise_top_k"
ANSWER = 16
BLOCKS = 520
RATIOS = (1, 1 / 2, 1 / 4, 1 / 10)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, as it is typed."""
    command = [sys.executable, "-m", "hf_tokcomp", "bench", "--engine", "vllm", *arguments]
    return subprocess.run(command, env=os.environ | HERE, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of every ratio, in a cache for 20 uncompressed requests; the prefill's budget lets all of them in at once."""
    folder = saved("qwen2_audio", tmp_path_factory.mktemp("tiny"))
    output = folder / "report.json"
    done = bench(
        *("--model", str(folder), "--dtype", "float32", "--compression", METHOD, "--retention-ratio", "1/2,1/4,1/10"),
        *("--requests", "4", "--concurrency", "1,4", "--arrivals", "1", "--new-tokens", str(ANSWER)),
        *("--kv-blocks", str(BLOCKS), "--engine-args", json.dumps({"block_size": BLOCK, "max_num_seqs": 256})),
        *("--output", str(output), "--json"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    printed = json.loads(done.stdout)
    assert printed == json.loads(output.read_text())
    return dict(printed)


def test_what_a_report_has(report: dict[str, Any]) -> None:
    rows = report["rows"]
    names = [(row["candidate"], row["retention_ratio"]) for row in rows]
    assert names == [("none", None), *((METHOD, ratio) for ratio in RATIOS[1:]), ("none, again", None)]
    assert report["machine"]["versions"]["vllm"].startswith("0.32.")
    assert set(report["noise"]) == {"1", "4"}
    for row in rows:
        assert row["prompt_tokens"] - row["audio_tokens"] == rows[0]["prompt_tokens"] - 750
        assert row["dtype"] == "float32"
        assert [one["concurrency"] for one in row["fixed"]] == [1, 4]
        for one in (*row["fixed"], *row["arrivals"]):
            assert one["requests"] == 4
            assert one["audio_seconds_per_second"] == pytest.approx(30 * one["requests_per_second"])
            assert 0 < one["first_token"]["median"] < one["end_to_end"]["median"]
            assert one["first_token"]["median"] <= one["first_token"]["p99"]
        (arrived,) = row["arrivals"]
        assert arrived["rate"] == pytest.approx(rows[0]["fixed"][1]["requests_per_second"])
        assert 0 <= arrived["in_time"] <= 4
    assert [row["audio_tokens"] for row in (rows[0], rows[-1])] == [750, 750]
    assert rows[0]["bound"] == 1 < rows[1]["bound"] < rows[2]["bound"] < rows[3]["bound"]
    assert sum(row["fixed"][0]["times_none"] for row in (rows[0], rows[-1])) == pytest.approx(2)


def test_as_many_run_at_once_as_the_blocks_allow(report: dict[str, Any]) -> None:
    for row in report["rows"]:
        each = -(-(row["prompt_tokens"] + ANSWER) // BLOCK)
        assert row["blocks_per_request"] == each
        assert row["kv_blocks"] == BLOCKS
        assert row["at_once_bound"] == (BLOCKS - 1) // each >= 20
        assert row["max_num_seqs"] > row["at_once_bound"]
        assert row["at_once"] is not None
        assert row["at_once"] >= row["at_once_bound"] - 1, row["candidate"]
    assert [row["at_once_bound"] for row in report["rows"][:4]] == [20, 39, 74, 129]


def operations_at(served: Any, slots: int) -> dict[str, float]:
    prompt = slots + len(served.prompt) - 1
    shapes = Weightless(served.config, served.patch)
    return shapes.operations(served.audio(30.0), slots, prompt, ANSWER, EncoderOptions())


def test_throughput_at_a_quarter(tmp_path: Path) -> None:
    """Of a model whose encoder and language model share the operations as Qwen2-Audio's do on 30 s.

    In CPU seconds of this process, which runs the engine, and the least of several rounds: other load counts little.
    """
    ours, theirs = random_model("heavy", heavy.HEAVY), random_model("qwen2-audio-7b", sizes_of("qwen2-audio-7b"))
    plain = operations_at(ours, 750)
    shares = [(work["prefill"] + work["decode"]) / work["encoder"] for work in (plain, operations_at(theirs, 750))]
    assert 0.7 < shares[0] / shares[1] < 1.4, shares
    bound = speedup_allowed(plain, operations_at(ours, 188))
    assert bound > 2.5
    folder = heavy.save(tmp_path)
    asked = [Question(tiny.prompt("qwen2_audio"), [tiny.sound(29.9, seed)]) for seed in range(12)]

    def seconds(compression: Any) -> float:
        options = {"num_gpu_blocks_override": 64, "max_model_len": 1024, "enable_prefix_caching": False}
        with engine(folder, compression, **options, mm_processor_cache_gb=0) as llm:
            generate(llm, asked[:1])
            rounds = []
            for _ in range(2):
                begin = time.process_time()
                generate(llm, asked)
                rounds.append(time.process_time() - begin)
            return min(rounds)

    took: list[float] = []
    for _ in range(2):
        took = [seconds("none"), seconds({"method": "average_pooling", "retention_ratio": 0.25})]
        if took[0] / took[1] >= 2:
            break
    assert took[0] / took[1] >= 2, f"{took} CPU seconds; the operations allow {bound:.2f} times"


def test_random_weights_of_long_audio_and_an_interrupt(tmp_path: Path) -> None:
    """Audio Flamingo 3 with small sizes, in a folder that the command writes itself, on two windows of 30 s."""
    sizes = json.loads(json.dumps(TOY_SIZES["audio-flamingo-3"]))
    sizes["audio_config"]["max_source_positions"] = 1500
    sizes["text_config"] |= {"hidden_size": 128}
    (tmp_path / "toy.json").write_text(json.dumps({"source": "nowhere", "config": sizes}))
    script, output = tmp_path / "bench.py", tmp_path / "out" / "report.json"
    output.parent.mkdir()
    script.write_text(
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from hf_tokcomp.benchmarks.speed import architectures\n"
        "from hf_tokcomp.cli import main\n"
        f"architectures.CONFIGS = Path({str(tmp_path)!r})\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    sys.exit(main())\n"
    )
    given = ["--random-weights", "toy", "--audio-seconds", "40", "--compression", METHOD, "--requests", "2"]
    given += ["--retention-ratio", "1/4", "--concurrency", "1,2", "--new-tokens", "2", "--output", str(output)]
    given += ["--kv-blocks", "40"]
    command = [sys.executable, str(script), "bench", "--engine", "vllm", *given]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=os.environ | HERE, **pipes)
    end = time.monotonic() + 300
    while not output.exists():
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == f"hf-tokcomp: error: Interrupted. {output} has what was measured so far."
    rows = json.loads(output.read_text())["rows"]
    assert [(row["candidate"], row["audio_tokens"]) for row in rows] == [("none", 1000)]
