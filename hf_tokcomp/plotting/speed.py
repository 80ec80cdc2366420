"""plot_speed: the time to the first token by phase, and the growth of time and memory with the audio length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ..config.notation import ratio_name
from ..reporting.pages import workload_name
from .quality import COLOURS, MARKERS

PHASES = ("features", "encoder", "compressor", "projector", "prefill")
BAR, WIDTH, HEIGHT = 0.24, 7.5, 3.0  # inches: height of a bar, width of a panel, height of a panel with lines
GROWING: dict[str, Callable[[dict[str, Any]], float]] = {
    "to the first token, s": lambda row: row["total"]["median"],
    "peak memory, MiB": lambda row: row["peak_bytes"] / 2**20,
    "key-value cache, MiB": lambda row: row["cache_bytes"] / 2**20,
}


def plot_speed(report: dict[str, Any]) -> Figure:
    """One panel of bars per length and batch size; with three or more lengths, lines over the length instead.

    A bar has one colour per phase; its end is the sum of the phases, and the black mark is the bound set by the
    operations.

    Args:
        report: the report of a `hf_tokcomp.benchmarks.speed.runner.SpeedBenchmark`.

    Raises:
        ValueError: nothing was measured.
    """
    rows = [row for row in report["rows"] if row["way"] == "batch"]
    if not rows:
        raise ValueError("There is nothing to draw: everything was left out.")
    if len({row["seconds"] for row in rows}) >= 3:
        return _lines(report, rows)
    workloads = list(dict.fromkeys((row["seconds"], row["batch_size"]) for row in rows))
    panels = [[row for row in rows if (row["seconds"], row["batch_size"]) == workload] for workload in workloads]
    sizes = [0.8 + BAR * len(panel) for panel in panels]
    figure = Figure(figsize=(WIDTH, sum(sizes) + 0.7), layout="constrained", dpi=150)
    grid = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": sizes})
    for axes, workload, panel in zip(grid.flat, workloads, panels, strict=True):
        _bars(axes, panel)
        axes.set_title(workload_name(*workload), fontsize=9)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.suptitle(_title(report), fontsize=10)
    return figure


def _bars(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    start = [0.0] * len(rows)
    for phase, colour in zip(PHASES, COLOURS, strict=False):
        values = [1e3 * row[phase]["median"] for row in rows]
        axes.barh(range(len(rows)), values, left=start, color=colour, label=phase, height=0.75)
        start = [one + other for one, other in zip(start, values, strict=True)]
    bounds = [(place, 1e3 * row["bound"]["seconds"]) for place, row in enumerate(rows) if row["bound"] is not None]
    if bounds:
        places, ends = zip(*bounds, strict=True)
        axes.scatter(ends, places, marker="|", s=120, color="black", zorder=3, label="what the operations allow")
    axes.set_yticks(range(len(rows)), [_name(row) for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds to the first token", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _lines(report: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Figure:
    batches = list(dict.fromkeys(row["batch_size"] for row in rows))
    figure = Figure(figsize=(3.4 * len(GROWING), HEIGHT * len(batches) + 0.6), layout="constrained", dpi=150)
    grid = figure.subplots(len(batches), len(GROWING), squeeze=False)
    for line, audios in zip(grid, batches, strict=True):
        for axes, (title, get) in zip(line, GROWING.items(), strict=True):
            own = [row for row in rows if row["batch_size"] == audios]
            for number, name in enumerate(dict.fromkeys(map(_name, own))):
                points = sorted((row["seconds"], get(row)) for row in own if _name(row) == name)
                marker = MARKERS[number // len(COLOURS) % len(MARKERS)]
                colour = COLOURS[number % len(COLOURS)]
                axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=3.5, label=name)
            axes.set_xscale("log")
            axes.set_yscale("log")
            lengths = sorted({row["seconds"] for row in own})
            axes.set_xticks(lengths, [f"{seconds:g}" for seconds in lengths])
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel("audio, s", fontsize=8)
            axes.set_title(title if audios == 1 else f"{title}, {audios} clips", fontsize=9)
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(_title(report), fontsize=10)
    return figure


def _name(row: dict[str, Any]) -> str:
    ratio = row["retention_ratio"]
    return str(row["candidate"]) if ratio is None else f"{row['candidate']}, {ratio_name(ratio)}"


def _title(report: dict[str, Any]) -> str:
    facts = report["machine"]
    return f"{report['model']['name']}, {report['model']['dtype']}, {facts['gpu'] or facts['processor']}"
