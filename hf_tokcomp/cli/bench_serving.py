"""`hf-tokcomp bench --engine vllm`: what compression saves in a server, compared with the uncompressed one."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..reporting.options import parse_list, parse_ratios
from .bench_results import Results, tell
from .interrupted import keeping
from .options import the_one

if TYPE_CHECKING:
    from ..benchmarks.serving.plan import ServingPlan
    from ..benchmarks.serving.subject import ServedModel
    from ..evaluation.plan import Run


def plan_serving(
    runs: Sequence[Run],
    audio_seconds: str | None,
    new_tokens: int,
    requests: int,
    concurrency: str,
    arrivals: str,
    kv_blocks: int | None,
    engine_args: str | None,
) -> ServingPlan:
    """The plan that the options describe.

    Raises:
        ValueError: an option has no such value.
        whatever `hf_tokcomp.benchmarks.serving.plan.ServingPlan` raises.
    """
    from ..benchmarks.serving.plan import ServingPlan

    lengths = parse_list(audio_seconds, "--audio-seconds", float) if audio_seconds else []
    if len(lengths) > 1:
        raise ValueError("--audio-seconds: a server is measured with clips of one length.")
    return ServingPlan(
        runs=runs,
        audio_seconds=the_one("--audio-seconds", lengths),
        new_tokens=new_tokens,
        requests=requests,
        concurrency=parse_list(concurrency, "--concurrency", int),
        arrivals=parse_ratios(arrivals, "--arrivals"),
        kv_blocks=kv_blocks,
        engine=_keywords(engine_args),
    )


def measure_serving(
    plan: ServingPlan,
    model: str | None,
    random_weights: str | None,
    layers: int | None,
    dtype: str,
    left_out: dict[str, str],
    output: Path | None,
    markdown: str | None,
    as_json: bool,
) -> None:
    """Measure, print and write.

    Raises:
        ImportError: vLLM is not installed.
        ValueError: no model is named, or it cannot be measured.
    """
    from ..benchmarks.serving import tables
    from ..benchmarks.serving.runner import ServingBenchmark

    # First, so that nobody installs vLLM for a model that it would not serve.
    served, precision = find_served(model, random_weights, layers, dtype)
    if importlib.util.find_spec("vllm") is None:
        raise ImportError(
            '--engine vllm needs vLLM, which is not installed here: pip install "hf-tokcomp[serving]", in an '
            "environment of its own. docs/serving.md has the commands, also for a machine without a GPU."
        )
    # Before vLLM is imported: standard output is for the report, and errors are enough.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    results = Results(tables, output, markdown)
    benchmark = ServingBenchmark(plan, served, precision, tell, results.save)
    with keeping(results.kept):
        report = asyncio.run(benchmark.run())
    tell("")
    results.finish(report, left_out, as_json)


def find_served(
    model: str | None, random_weights: str | None, layers: int | None, dtype: str
) -> tuple[ServedModel, str]:
    """The model to serve, of which only config and processor are read, and its precision in vLLM.

    Raises:
        ValueError: none is named, there are no sizes with this name, or it cannot be measured.
        UnsupportedModelError: it is not served under compression.
    """
    import torch

    from ..benchmarks.serving.subject import random_model, stored_model
    from ..benchmarks.speed.architectures import sizes_of
    from ..inference.recordings import find_model
    from ..reporting.console import quiet_transformers

    quiet_transformers()
    if random_weights is not None:
        precision = ("bfloat16" if torch.accelerator.is_available() else "float32") if dtype == "auto" else dtype
        return random_model(random_weights, sizes_of(random_weights, layers), layers), precision
    if model is None:
        raise ValueError(
            "--engine vllm: name a model with --model or --random-weights. The small one that ships with the package "
            "has attention heads of 40, which vLLM does not take everywhere."
        )
    return stored_model(find_model(model)), dtype


def _keywords(text: str | None) -> dict[str, Any]:
    """The value of ``--engine-args``.

    Raises:
        ValueError: it is not a JSON object.
    """
    try:
        found = {} if text is None else json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--engine-args is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise ValueError("--engine-args must be a JSON object of keywords and values.")
    return found
