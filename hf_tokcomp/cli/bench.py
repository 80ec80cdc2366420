"""`hf-tokcomp bench`: time and memory savings of compression by phase, compared with the uncompressed model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..reporting.console import print_json
from ..reporting.options import parse_list
from .command import given_on_command_line
from .groups import MEASURING, OUTPUT, READ
from .interrupted import keeping
from .options import (
    ConfigOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    PositionsOption,
    compressions_option,
    positions_of,
    ratios_of,
    ratios_option,
    the_one,
)

if TYPE_CHECKING:
    from ..benchmarks.speed.subject import Subject

METHODS = ("segmentwise_top_k", "average_pooling")
RATIOS = "1/2,1/4,1/10"
WITH_FULL_SIZE = {"full_size", "layers", "device", "dtype", "markdown", "imports", "config"}


def bench(
    context: typer.Context,
    model: ModelOption = None,
    random_weights: Annotated[
        str | None,
        typer.Option(
            "--random-weights",
            metavar="NAME",
            rich_help_panel=READ,
            help="Instead of a model: the whole of qwen2-audio-7b or audio-flamingo-3 with random weights, made from "
            "sizes that ship with the package. Nothing is downloaded.",
        ),
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option(
            "--layers",
            metavar="N",
            min=1,
            rich_help_panel=READ,
            help="With --random-weights or --full-size: keep N layers of the encoder and of the language model, for a "
            "small machine.",
        ),
    ] = None,
    compression: Annotated[
        list[str] | None,
        compressions_option(f"{' and '.join(METHODS)}; `none` measures what the patch itself costs"),
    ] = None,
    retention_ratio: Annotated[
        str | None,
        ratios_option(f"each compression's own budget; of the default compressions {RATIOS}"),
    ] = None,
    positions: PositionsOption = None,
    audio_seconds: Annotated[
        str | None,
        typer.Option(
            "--audio-seconds",
            metavar="S,S,...",
            rich_help_panel=MEASURING,
            help="Lengths of the clips. Default: the encoder's window.",
        ),
    ] = None,
    batch_size: Annotated[
        str,
        typer.Option("--batch-size", metavar="N,N,...", rich_help_panel=MEASURING, help="Clips per batch."),
    ] = "1",
    ragged: Annotated[
        bool,
        typer.Option(
            "--ragged",
            rich_help_panel=MEASURING,
            help="Let the clips of a batch differ in length, up to --audio-seconds.",
        ),
    ] = False,
    one_by_one: Annotated[
        bool,
        typer.Option("--one-by-one", rich_help_panel=MEASURING, help="Also measure one call per clip."),
    ] = False,
    rivals: Annotated[
        bool,
        typer.Option(
            "--rivals",
            rich_help_panel=MEASURING,
            help="Also measure the usual way: pruning by the scores of eager attention, one clip at a time.",
        ),
    ] = False,
    new_tokens: Annotated[
        int,
        typer.Option(
            "--new-tokens",
            metavar="N",
            min=1,
            rich_help_panel=MEASURING,
            help="Tokens to generate, always exactly as many.",
        ),
    ] = 16,
    rounds: Annotated[
        int,
        typer.Option(
            "--rounds",
            metavar="N",
            min=1,
            rich_help_panel=MEASURING,
            help="Minimum number of rounds.",
        ),
    ] = 5,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            min=0,
            rich_help_panel=MEASURING,
            help="Minimum time to measure each length and batch size for.",
        ),
    ] = 5.0,
    limit: Annotated[
        float,
        typer.Option(
            "--limit",
            metavar="SECONDS",
            min=0,
            rich_help_panel=MEASURING,
            help="Skip cases in which a single call takes longer.",
        ),
    ] = 120.0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    as_json: JsonOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Also write the JSON to a file, which is updated as measurements come in.",
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Plot the result into a .png, .pdf or .svg file; needs matplotlib.",
        ),
    ] = None,
    markdown: Annotated[
        str | None,
        typer.Option(
            "--markdown",
            metavar="PAGE[#PLACE]",
            rich_help_panel=OUTPUT,
            help="Write the tables between the page's markers, or between those of this name if there are several.",
        ),
    ] = None,
    full_size: Annotated[
        Path | None,
        typer.Option(
            "--full-size",
            metavar="FOLDER",
            rich_help_panel=MEASURING,
            help="Measure both public models at full size, with random weights, and write reports, tables and pictures "
            "to the folder. What is there already is not measured again. Goes with --layers, --device, --dtype and "
            "--markdown only; needs matplotlib.",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Measure time to the first token phase by phase, time per token, and memory, with and without compression.

    Uncompressed model and compressions take turns; the first round is thrown away; the device is waited for. Beside
    every speed-up stands the one that the operations alone allow. docs/benchmarks.md explains the tables.
    """
    if full_size is not None:
        check_alone(context)
        measure_full_size(full_size, layers, device, dtype, markdown)
        return
    from ..benchmarks.speed import tables
    from ..benchmarks.speed.plan import SpeedPlan
    from ..benchmarks.speed.runner import SpeedBenchmark
    from ..evaluation.plan import plan
    from ..hub.whole_files import write_whole
    from ..reporting.pages import check_place, fill_place, show

    if random_weights is not None and model is not None:
        raise ValueError("Give --model or --random-weights, not both.")
    if layers is not None and random_weights is None:
        raise ValueError("--layers is for --random-weights; a model's own layers are all measured.")
    ratios = ratios_of(retention_ratio or (None if compression else RATIOS))
    kind = the_one("--positions", positions_of(positions))
    runs, left_out = plan(compression or METHODS, ratios, [] if kind is None else [kind], 1)
    lengths = parse_list(audio_seconds, "--audio-seconds", float) if audio_seconds else []
    planned = SpeedPlan(
        runs=runs,
        audio_seconds=lengths,
        batch_sizes=parse_list(batch_size, "--batch-size", int),
        new_tokens=new_tokens,
        ragged=ragged,
        one_by_one=one_by_one,
        rivals=rivals,
        none="none" in (compression or ()),
        rounds=rounds,
        seconds=seconds,
        limit=limit,
    )
    if output is not None and not output.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no folder {output.absolute().parent} to write {output.name} to.")
    name, hash_, place = (markdown or "").partition("#")
    page, begin = Path(name), tables.BEGIN.format(place=hash_ + place)
    if markdown is not None:
        check_place(page, begin)
    draw = drawer(picture)

    saved: list[Path] = []

    def save(report: dict[str, Any]) -> None:
        if output is not None:
            saved.append(write_whole(output, json.dumps(report, indent=2) + "\n"))

    def kept() -> str:
        return f"{saved[-1]} has what was measured so far." if saved else "Nothing was kept; --output FILE keeps it."

    subject = find_subject(model, random_weights, layers, device, dtype)
    with keeping(kept):
        report = SpeedBenchmark(planned, subject, tell, save).run()
    tell("")
    report["not_measured"] = left_out
    save(report)
    draw(report)
    if markdown is not None:
        fill_place(page, begin, tables.markdown(report))
    if as_json:
        print_json(report)
        return
    show(tables.tables(report), tables.notes(report))
    if picture is not None:
        print(f"Wrote {picture}.")


def check_alone(context: typer.Context) -> None:
    """Check that no option is given that ``--full-size`` sets itself.

    Raises:
        ValueError: there is such an option.
    """
    names = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    given = [names[name] for name in given_on_command_line(context) if name not in WITH_FULL_SIZE]
    if given:
        raise ValueError(f"--full-size says itself what is measured and what is written; leave out {', '.join(given)}.")


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


def tell(line: str) -> None:
    """Show on a terminal what is being measured; a progress bar's thread would affect the measurement."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
