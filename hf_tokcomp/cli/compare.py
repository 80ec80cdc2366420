"""`hf-tokcomp compare`: every method at every ratio on the same recordings, side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..evaluation.metrics.texts import NORMALISATION
from ..hub.whole_files import write_whole
from ..reporting.console import complain, print_json
from .cells import Cell, plan
from .groups import MEASURING, OUTPUT, RUNNING
from .options import (
    AudioArgument,
    ColumnsOption,
    DatasetOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MaxNewTokensOption,
    ModelOption,
    OnErrorOption,
    PromptOption,
    SplitOption,
    compressions_option,
    parse_columns,
    positions_of,
    positions_option,
    ratios_of,
    ratios_option,
)
from .reader import open_reader
from .report import failing, print_notes, print_scores, print_texts

if TYPE_CHECKING:
    from ..inference.reader import Reader
    from ..inference.recordings import Recording

RATIOS = "1,1/2,1/4,1/10"
POSITIONS = "contiguous,original"
"""What is compared where nothing is said."""


def compare(
    audio: AudioArgument = None,
    model: ModelOption = None,
    prompt: PromptOption = None,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    columns: ColumnsOption = None,
    compression: Annotated[list[str] | None, compressions_option("all of them")] = None,
    retention_ratio: Annotated[str | None, ratios_option("1, 1/2, 1/4 and 1/10")] = None,
    positions: Annotated[str | None, positions_option("both")] = None,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", metavar="N", min=1, rich_help_panel=RUNNING, help="Recordings read together."),
    ] = 8,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", metavar="N", min=1, rich_help_panel=MEASURING, help="Seeds to average over, for `random`."
        ),
    ] = 1,
    texts: Annotated[
        bool,
        typer.Option("--texts", rich_help_panel=OUTPUT, help="Print the texts, too, where there are truths."),
    ] = False,
    max_new_tokens: MaxNewTokensOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", rich_help_panel=OUTPUT, help="Write the JSON to a file, too."),
    ] = None,
    on_error: OnErrorOption = "stop",
    as_json: JsonOption = False,
) -> None:
    """Compare methods and ratios on the same recordings.

    Where the truth is known (a --dataset, the shipped recordings), by word error rate; elsewhere text beside text.
    """
    from ..inference.recordings import find_entries, find_model, load_recordings
    from ..reporting.environment import environment

    kinds = positions_of(POSITIONS if positions is None else positions)
    shares = ratios_of(RATIOS if retention_ratio is None else retention_ratio)
    cells, left_out = plan(compression, shares, kinds, seeds)
    if output is not None and not output.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no folder {output.absolute().parent} to write {output.name} to.")
    name = find_model(model)
    entries = find_entries(audio, dataset, split, parse_columns(columns), on_error)
    reader = open_reader(name)
    loaded = load_recordings(entries, prompt, reader, on_error)
    recordings = loaded.recordings
    reader.load_model(device, dtype)

    read_all(reader, recordings, cells, batch_size, max_new_tokens)
    truths = [recording.truth for recording in recordings]
    report: dict[str, Any] = {
        **reader.about(),
        "ratios": shares,
        "positions": kinds,
        "seeds": seeds,
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "manifest": dataset,
        "normalisation": NORMALISATION,
        "left_out": left_out,
        "recordings": [
            {
                "audio": recording.name,
                "seconds": round(recording.seconds, 3),
                "seconds_dropped": round(recording.dropped, 3),
                "prompt": recording.prompt,
                "truth": recording.truth,
                "tokens": reading.tokens_before,
            }
            for recording, reading in zip(recordings, cells[0].in_order()[0], strict=True)
        ],
        **loaded.to_dict(),
        "cells": [cell.to_dict(truths) for cell in cells],
        "versions": environment(),
    }
    loud = failing(report)
    if loud is not None:
        complain("warning", loud)
    if output is not None:
        write_whole(output, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if as_json:
        print_json(report)
        return
    scored = any(truth is not None for truth in truths)
    if scored:
        print_scores(report)
    if texts or not scored:
        print_texts(report)
    print_notes(report)
    loaded.print_skipped()


def read_all(
    reader: Reader, recordings: Sequence[Recording], cells: Sequence[Cell], batch_size: int, max_new_tokens: int | None
) -> None:
    """Fill the cells. Batch by batch, so that features are computed once and only one batch is in memory."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # Of like length together: padding is waste.
    order = sorted(range(len(recordings)), key=lambda i: recordings[i].seconds)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    runs = sum(len(cell.configs) for cell in cells)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("reading", total=runs * len(batches))
        for number, indices in enumerate(batches):
            batch = reader.prepare([recordings[i] for i in indices])
            if number == 0:
                reader.read(batch, cells[0].configs[0], 1)  # for nothing: a first call pays for what later ones find
            for cell in cells:
                for config, row in zip(cell.configs, cell.readings, strict=True):
                    progress.update(task, description=f"{cell.method} {cell.ratio:g}")
                    readings, seconds = reader.read(batch, config, max_new_tokens)
                    row.update(zip(indices, readings, strict=True))
                    cell.prefill += seconds.prefill
                    cell.decode += seconds.decode
                    progress.advance(task)
