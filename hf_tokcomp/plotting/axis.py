"""Bare axes, their labels, and the shared time axis at the bottom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MultipleLocator

MUTED = "#6b6b6b"


def bare(axes: Axes) -> None:
    """Remove frame, ticks, grid and margins, whatever the user's matplotlib settings."""
    axes.set_facecolor("none")
    axes.grid(False)
    axes.margins(0)
    axes.set_yticks([])
    axes.tick_params(axis="both", which="both", length=0, labelbottom=False, top=False, right=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def label_y(axes: Axes, label: str, ticks: Sequence[float] = (), names: Sequence[str] = ()) -> None:
    """Label the y axis and mark a few of its values."""
    axes.set_yticks(list(ticks), list(names))
    axes.tick_params(axis="y", length=2, pad=2, labelsize=7, labelcolor=MUTED, color=MUTED, labelleft=True, left=True)
    axes.annotate(
        label,
        (0, 0.5),
        xycoords="axes fraction",
        xytext=(-20, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=8,
        color=MUTED,
        annotation_clip=False,
    )


def nice_step(seconds: float, inches: float) -> float:
    """Seconds between ticks: a round number that gives about one tick per inch."""
    wanted = seconds / max(2.0, inches)
    steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600]
    return float(min(steps, key=lambda step: abs(np.log(step / wanted))))


def clock(value: float, seconds: float) -> str:
    """A time as shown on the axis: ``2.5``, or ``1:30`` if the audio is minutes long."""
    if seconds <= 120:
        return f"{value:.10g}"
    whole = round(value)
    return f"{whole // 60}:{whole % 60:02d}"


def time_axis(axes: Axes, seconds: float, inches: float) -> None:
    """Add ticks and a label below these axes, and set the range of all axes that share them to the whole audio."""
    axes.set_xlim(0, seconds)
    axes.xaxis.set_major_locator(MultipleLocator(nice_step(seconds, inches)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(value, seconds)))
    axes.tick_params(axis="x", length=3, labelbottom=True, labelsize=8, labelcolor=MUTED, color=MUTED)
    axes.xaxis.set_label_text("minutes" if seconds > 120 else "seconds")
    axes.xaxis.label.set(color=MUTED, fontsize=8)
