"""`hf-tokcomp bench`: what compression saves in time and memory, compared with the uncompressed model."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..reporting.options import parse_list
from .bench_decoding import measure_decoding, plan_decoding
from .bench_options import (
    METHODS,
    NEW_TOKENS,
    RATIOS,
    ArrivalsOption,
    AudioSecondsOption,
    BatchSizeOption,
    CompressionsOption,
    ConcurrencyOption,
    EngineArgsOption,
    EngineOption,
    FullSizeOption,
    KVBlocksOption,
    LayersOption,
    LimitOption,
    MarkdownOption,
    NewTokensOption,
    OneByOneOption,
    PictureOption,
    RaggedOption,
    RandomWeightsOption,
    RatiosOption,
    ReportOption,
    RequestsOption,
    RivalsOption,
    RoundsOption,
    SecondsOption,
)
from .bench_results import Results, tell
from .bench_serving import measure_serving, plan_serving
from .command import given_on_command_line
from .interrupted import keeping
from .options import (
    ConfigOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    PositionsOption,
    positions_of,
    ratios_of,
    the_one,
)

if TYPE_CHECKING:
    from ..benchmarks.speed.subject import Subject

WITH_FULL_SIZE = {"full_size", "layers", "device", "dtype", "markdown", "imports", "config"}
OF_ENGINE = {
    "transformers": {
        *("batch_size", "ragged", "one_by_one", "rivals", "rounds", "seconds", "limit", "device", "picture"),
    },
    "vllm": {"requests", "concurrency", "arrivals", "kv_blocks", "engine_args"},
}
"""Options that mean nothing for the other engine."""
NEED_PROMPT = {"positions", "one_by_one", "rivals", "picture"}
"""Options that mean nothing for a model whose decoder attends to its encoder."""


def bench(
    context: typer.Context,
    engine: EngineOption = "transformers",
    model: ModelOption = None,
    random_weights: RandomWeightsOption = None,
    layers: LayersOption = None,
    compression: CompressionsOption = None,
    retention_ratio: RatiosOption = None,
    positions: PositionsOption = None,
    audio_seconds: AudioSecondsOption = None,
    new_tokens: NewTokensOption = None,
    batch_size: BatchSizeOption = None,
    ragged: RaggedOption = False,
    one_by_one: OneByOneOption = False,
    rivals: RivalsOption = False,
    rounds: RoundsOption = 5,
    seconds: SecondsOption = 5.0,
    limit: LimitOption = 120.0,
    requests: RequestsOption = 64,
    concurrency: ConcurrencyOption = "1,8,32",
    arrivals: ArrivalsOption = "1/2,1,3/2",
    kv_blocks: KVBlocksOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    engine_args: EngineArgsOption = None,
    as_json: JsonOption = False,
    output: ReportOption = None,
    picture: PictureOption = None,
    markdown: MarkdownOption = None,
    full_size: FullSizeOption = None,
    config: ConfigOption = None,
) -> None:
    """Measure time to the first token phase by phase, time per token, and memory, with and without compression.

    Uncompressed model and compressions take turns; the first round is thrown away; the device is waited for. Beside
    every speed-up stands the one that the operations alone allow. docs/benchmarks.md explains the tables.

    Of a model whose decoder attends to its encoder, as Whisper's: caches, time per token and to the first one, with
    several streams at once, and the bound by what a step reads. docs/decoding.md.

    With --engine vllm: requests running at once, throughput and latency of a server, uncompressed first and last.
    """
    if full_size is not None:
        check_alone(context)
        measure_full_size(full_size, layers, device, dtype, markdown)
        return
    other = next(name for name in OF_ENGINE if name != engine)
    refuse(context, OF_ENGINE[other], f"--engine {engine} has no use for them")
    from ..evaluation.plan import plan

    if random_weights is not None and model is not None:
        raise ValueError("Give --model or --random-weights, not both.")
    if layers is not None and random_weights is None:
        raise ValueError("--layers is for --random-weights; a model's own layers are all measured.")
    ratios = ratios_of(retention_ratio or (None if compression else RATIOS))
    kind = the_one("--positions", positions_of(positions))
    default = METHODS if engine == "transformers" else METHODS[:1]
    runs, left_out = plan(compression or default, ratios, [] if kind is None else [kind], 1)
    answer = NEW_TOKENS[engine] if new_tokens is None else new_tokens
    if engine == "vllm":
        served = plan_serving(runs, audio_seconds, answer, requests, concurrency, arrivals, kv_blocks, engine_args)
        measure_serving(served, model, random_weights, layers, dtype, left_out, output, markdown, as_json)
        return
    subject = find_subject(model, random_weights, layers, device, dtype)
    lengths = parse_list(audio_seconds, "--audio-seconds", float) if audio_seconds else []
    batches = parse_list(batch_size, "--batch-size", int) if batch_size else None
    if not subject.patch.reads_prompts:
        refuse(context, NEED_PROMPT, f"{subject.name} reads no prompt, so its decoder is measured alone")
        decoded = plan_decoding(runs, lengths, batches, answer, ragged, rounds, seconds, limit)
        measure_decoding(decoded, subject, left_out, output, markdown, as_json)
        return
    from ..benchmarks.speed import tables
    from ..benchmarks.speed.plan import SpeedPlan
    from ..benchmarks.speed.runner import SpeedBenchmark

    planned = SpeedPlan(
        runs=runs,
        audio_seconds=lengths,
        batch_sizes=(1,) if batches is None else batches,
        new_tokens=answer,
        ragged=ragged,
        one_by_one=one_by_one,
        rivals=rivals,
        none="none" in (compression or ()),
        rounds=rounds,
        seconds=seconds,
        limit=limit,
    )
    results = Results(tables, output, markdown)
    draw = drawer(picture)
    with keeping(results.kept):
        report = SpeedBenchmark(planned, subject, tell, results.save).run()
    tell("")
    draw(report)
    results.finish(report, left_out, as_json)
    if picture is not None and not as_json:
        print(f"Wrote {picture}.")


def refuse(context: typer.Context, refused: Collection[str], reason: str) -> None:
    """Check that none of these options is given.

    Args:
        context: the command's.
        refused: names of its parameters.
        reason: what the error says before it names them.

    Raises:
        ValueError: there is such an option.
    """
    names = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    given = [names[name] for name in given_on_command_line(context) if name in refused]
    if given:
        raise ValueError(f"{reason}; leave out {', '.join(given)}.")


def check_alone(context: typer.Context) -> None:
    """Check that no option is given that ``--full-size`` sets itself.

    Raises:
        ValueError: there is such an option.
    """
    names = {str(parameter.name) for parameter in context.command.params}
    refuse(context, names - WITH_FULL_SIZE, "--full-size says itself what is measured and what is written")


def measure_full_size(folder: Path, layers: int | None, device: str, dtype: str, markdown: str | None) -> None:
    """Do the same as ``python -m hf_tokcomp.benchmarks.full_size``.

    Raises:
        ValueError: a place on the page is named, although there is only one for this.
        whatever `hf_tokcomp.benchmarks.full_size.run` raises.
    """
    if markdown is not None and "#" in markdown:
        raise ValueError("--full-size has one place on a page: give --markdown PAGE, without #.")
    from ..benchmarks.full_size import Settings, run

    with keeping(lambda: f"{folder} has what was measured so far; the same command goes on."):
        print(run(folder, Settings(layers, False, device, dtype), None if markdown is None else Path(markdown)))


def find_subject(
    model: str | None, random_weights: str | None, layers: int | None, device: str = "auto", dtype: str = "auto"
) -> Subject:
    """Find the model to measure, without loading or creating it yet.

    Raises:
        ValueError: there are no sizes with this name, or the model cannot be measured.
    """
    import torch

    from ..benchmarks.speed.architectures import sizes_of
    from ..benchmarks.speed.subject import load_subject, random_subject
    from ..reporting.console import quiet_transformers

    quiet_transformers()
    if device == "auto":
        # One device, so that a phase has one throughput.
        device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"  # type: ignore[union-attr]
    if random_weights is None:
        return load_subject(model, device, dtype)
    values = sizes_of(random_weights, layers)
    precision = ("float32" if device == "cpu" else "bfloat16") if dtype == "auto" else dtype
    return random_subject(random_weights, values, device, getattr(torch, precision), layers)


def drawer(picture: Path | None) -> Callable[[dict[str, Any]], None]:
    """Return a function that plots a report, checking its requirements before anything is measured.

    Raises:
        ImportError: matplotlib is not installed.
        whatever `hf_tokcomp.plotting.check_path` raises.
    """
    if picture is None:
        return lambda report: None
    from ..plotting import check_path, save
    from ..plotting.speed import plot_speed

    target = check_path(picture)

    def draw(report: dict[str, Any]) -> None:
        save(plot_speed(report), target)

    return draw
