"""Drawing into each kind of axes. Shapes are grouped into collections, so that long audio is drawn quickly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from .axis import MUTED, label_y
from .data import Floats, Panel, Spectrogram
from .layout import INK
from .tokens import DROPPED, KINDS, PALETTE, Arcs, Colour, Runs, main_colour, rectangles, slots_per_bin

AWAY: Colour = to_rgb("#f5f5f5")


def paint_spectrogram(axes: Axes, spectrogram: Spectrogram) -> None:
    """Draw the log-mel spectrogram, in kHz if the frequencies are known."""
    bins, frames = spectrogram.values.shape
    values = np.nan_to_num(spectrogram.values)
    low, high = np.percentile(values, [5, 99.8])
    axes.imshow(
        values,
        origin="lower",
        aspect="auto",
        extent=(0, frames / spectrogram.frame_rate, 0, bins),
        cmap="magma",
        vmin=float(low),
        vmax=float(max(high, low + 1e-6)),
        interpolation="antialiased",
        interpolation_stage="data",
    )
    if spectrogram.frequencies is None:
        label_y(axes, "mel bin", (0, bins), ("0", str(bins)))
        return
    hertz = spectrogram.frequencies
    ticks = [kilo for kilo in (0.5, 1, 2, 4, 8) if hertz[0] <= 1000 * kilo <= hertz[-1]]
    places = np.interp([1000 * kilo for kilo in ticks], hertz, np.arange(bins) + 0.5)
    label_y(axes, "kHz", places.tolist(), [f"{kilo:g}" for kilo in ticks])


def paint_attention(axes: Axes, panel: Panel, frame_rate: float, dense: bool) -> None:
    """Draw the attention received by each token, at its centre; filled where the token was kept."""
    scores = np.nan_to_num(panel.attention) if panel.attention is not None else np.zeros(0)
    time = (np.arange(len(scores)) + 0.5) / frame_rate
    if panel.slot is not None and not dense:
        kept = np.flatnonzero(panel.slot >= 0)
        bars = rectangles(kept / frame_rate, (kept + 1) / frame_rate, scores[kept])
        filled = PolyCollection(list(bars), facecolors=PALETTE["kept"][1], alpha=0.45, linewidths=0)
        filled.set_gid(f"{axes.get_gid()}-kept")
        axes.add_collection(filled)
    thin = 0.4 if dense else 0.9
    axes.add_line(Line2D(time, scores, color=INK, linewidth=thin, drawstyle="steps-mid", rasterized=dense))
    if len(scores):  # steps start and end at token centres, so half of the first and last token is missing
        halves = [[(end, scores[i]), (time[i], scores[i])] for i, end in ((0, 0.0), (-1, len(scores) / frame_rate))]
        axes.add_collection(LineCollection(halves, colors=INK, linewidths=thin))
    top = float(scores.max(initial=0.0))
    axes.set_ylim(0, 1.05 * top if top > 0 else 1)
    label_y(axes, "attention")


def paint_arcs(axes: Axes, arcs: Arcs, heights: Floats, colours: Sequence[Colour], room: float) -> None:
    """Draw arcs from the members to the position of their slot, which is marked by a dot."""
    axes.set_ylim(0, room)
    hues = [colours[slot] for slot in arcs.slot.tolist()]
    axes.add_collection(LineCollection(list(arcs.lines(heights)), colors=hues, linewidths=0.8, alpha=0.8))
    axes.scatter(arcs.target, np.zeros(len(hues)), s=5, c=hues, linewidths=0, clip_on=False, zorder=3)


def paint_tokens(axes: Axes, runs: Runs, colours: Sequence[Colour], frame_rate: float, points: float) -> None:
    """Draw every run of a slot in the slot's colour and every dropped token in grey.

    Args:
        axes: the axes to draw into.
        runs: the tokens.
        colours: a colour per slot.
        frame_rate: tokens per second.
        points: width of a token.
    """
    start, end = runs.start / frame_rate, runs.end / frame_rate
    axes.set_ylim(0, 1)
    for name, chosen in (("dropped", runs.slot < 0), ("slots", runs.slot >= 0)):
        if not chosen.any():
            continue
        faces = [DROPPED if slot < 0 else colours[slot] for slot in runs.slot[chosen].tolist()]
        shapes = PolyCollection(list(rectangles(start[chosen], end[chosen])), facecolors=faces)
        # White lines only between wide tokens; narrow ones would disappear behind them.
        shapes.set(gid=f"{axes.get_gid()}-{name}", edgecolor="white", linewidth=0.25 if points > 3 else 0)
        shapes.set_antialiased(points > 3)
        axes.add_collection(shapes)
    label_y(axes, "tokens")


def paint_density(axes: Axes, panel: Panel, runs: Runs, frame_rate: float) -> None:
    """Draw slots per second over time, stacked by kind, then dropped tokens; the remainder was merged away."""
    tokens = panel.tokens_before
    size = max(1, round(tokens / 300))
    edges = np.minimum(np.arange(0, tokens + size, size), tokens)
    counts = slots_per_bin(panel, runs, edges)
    rates: Floats = counts * frame_rate / np.diff(edges)
    floor = np.zeros(len(edges) - 1)
    start, end = edges[:-1] / frame_rate, edges[1:] / frame_rate
    all_tokens = rectangles(start[:1], end[-1:], frame_rate)
    axes.add_collection(PolyCollection(list(all_tokens), facecolors=AWAY, linewidths=0))
    colours = dict(zip((*KINDS, "dropped"), (*map(main_colour, KINDS), DROPPED), strict=True))
    for (kind, colour), rate in zip(colours.items(), rates, strict=True):
        if not rate.any():
            continue
        shapes = rectangles(start, end, rate)
        shapes[:, :, 1] += floor[:, None]
        collection = PolyCollection(list(shapes), facecolors=colour, linewidths=0, antialiaseds=False)
        collection.set_gid(f"{axes.get_gid()}-{kind}")
        axes.add_collection(collection)
        floor = floor + rate
    axes.set_ylim(0, frame_rate)
    label_y(axes, "tokens/s", (0, frame_rate), ("0", f"{frame_rate:g}"))


def paint_unmapped(axes: Axes, panel: Panel, seconds: float) -> None:
    """Draw a placeholder for a method whose tokens come from the whole audio and have no position in time."""
    axes.set_ylim(0, 1)
    axes.add_collection(PolyCollection(list(rectangles(np.zeros(1), np.array([seconds]))), facecolors=AWAY))
    label_y(axes, "tokens")
    words = f"{panel.tokens_after:,} tokens that are not tied to moments of the audio"
    axes.text(seconds / 2, 0.5, words, ha="center", va="center", fontsize=8, color=MUTED)
