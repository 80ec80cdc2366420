"""plot_quality: task quality against the share of audio tokens kept, with one line per method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from ..evaluation.score import Score
from ..evaluation.tables import LOWER_IS_BETTER, NAMES

COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0")
MARKERS = "osD^vPX"
WIDTH, HEIGHT = 4.4, 3.3  # size of a panel in inches


def plot_quality(scores: Sequence[Score], titles: Mapping[str, str] | None = None) -> Figure:
    """One panel per task (and part of a task) and kind of positions, showing the first metric of each task.

    Bars are 95 % intervals; the grey line and band are the uncompressed model.

    Args:
        scores: scores of one model.
        titles: titles of the tasks, by name.

    Raises:
        ValueError: no method other than `none` was measured.
    """
    first: dict[tuple[str, str], str] = {}
    for each in scores:
        first.setdefault((each.task, each.subset), each.metric)
    shown = [each for each in scores if first[each.task, each.subset] == each.metric]
    kinds = list(dict.fromkeys(each.positions for each in shown if each.positions is not None))
    if not kinds:
        raise ValueError("There is nothing to draw: no method but `none` was measured.")
    methods = list(dict.fromkeys(each.method for each in shown if each.positions is not None))
    figure = Figure(figsize=(WIDTH * len(first) + 2.2, HEIGHT * len(kinds)), layout="constrained", dpi=150)
    grid = figure.subplots(len(kinds), len(first), squeeze=False)
    for row, kind in enumerate(kinds):
        for column, ((task, subset), metric) in enumerate(first.items()):
            part = [each for each in shown if (each.task, each.subset) == (task, subset)]
            name = (titles or {}).get(task, task) + (f", {subset}" if subset else "")
            _panel(grid[row][column], part, kind, methods)
            grid[row][column].set_title(f"{name}\npositions {kind}" if len(kinds) > 1 else name, fontsize=9)
            better = "lower" if metric in LOWER_IS_BETTER else "higher"
            grid[row][column].set_ylabel(f"{NAMES.get(metric, metric)} ({better} is better)", fontsize=8)
    named: dict[str, Any] = {}  # a method may be missing from some panels
    for axes in grid.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    figure.legend(list(named.values()), list(named), loc="outside right center", fontsize=8, frameon=False)
    return figure


def _panel(axes: Any, scores: Sequence[Score], kind: str, methods: Sequence[str]) -> None:
    none = next((each for each in scores if each.positions is None), None)
    if none is not None:
        axes.axhspan(none.low, none.high, color="#dddddd", linewidth=0)
        axes.axhline(none.value, color="#888888", linewidth=1, label=none.method)
    for number, method in enumerate(methods):
        line = sorted((each for each in scores if (each.method, each.positions) == (method, kind)), key=_kept)
        if not line:
            continue
        kept = [100 * each.kept for each in line]
        values = [each.value for each in line]
        spread = [[max(0.0, e.value - e.low) for e in line], [max(0.0, e.high - e.value) for e in line]]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) % len(MARKERS)]
        axes.errorbar(
            kept,
            values,
            spread,
            color=colour,
            marker=marker,
            markersize=3.5,
            linewidth=1.1,
            elinewidth=0.5,
            label=method,
        )
    axes.set_xscale("log")
    ticks = [tick for tick in (1, 2, 5, 10, 25, 50, 100) if not scores or tick >= 100 * min(map(_kept, scores)) * 0.9]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("audio tokens kept, %", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _kept(score: Score) -> float:
    return score.kept
