"""plot_compression: plot prepared data, with the spectrogram on top and text, attention and tokens per method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .axis import MUTED
from .data import Panel, Spectrogram
from .layout import Part, Sheet
from .painting import AWAY, paint_arcs, paint_attention, paint_density, paint_spectrogram, paint_tokens, paint_unmapped
from .tokens import DROPPED, KINDS, find_arcs, find_runs, main_colour, slot_colours

NARROWEST = 0.45
"""Width in points below which tokens are drawn as a density per second instead of one by one."""


def plot_compression(
    audio: Any,
    panels: Sequence[Panel],
    *,
    frame_rate: float,
    title: str | None = None,
    subtitle: str | None = None,
    width: float = 10.0,
    dpi: float = 150.0,
) -> Figure:
    """Draw what methods did to one audio, one below the other on a shared time axis.

    A token with a slot of its own is blue and merged neighbours are green. Non-adjacent members of a slot share one of
    the other colours and have arcs to the slot's position, thinned out if there are too many. Dropped tokens are grey.
    If there are too many tokens to be visible, the plot shows the number of slots per second instead.

    Args:
        audio: a `Spectrogram`, or audio in any form that `hf_tokcomp.audio.load_audio` takes.
        panels: one per method.
        frame_rate: the model's tokens per second.
        title: at the top.
        subtitle: below the title, for example the question.
        width: in inches; the height follows from the content.
        dpi: pixels per inch.

    Returns:
        A matplotlib figure without a window; `hf_tokcomp.plotting.save` or its own ``savefig`` writes it.

    Raises:
        ValueError: there are no panels, or the width is too small.

    Example:
        >>> from hf_tokcomp.plotting import Panel, plot_compression, save
        >>> every_second = Panel("every second token", 127, 64, slot=[i // 2 if i % 2 == 0 else -1 for i in range(127)])
        >>> save(plot_compression("question.wav", [every_second], frame_rate=25.0), "tokens.png").name
        'tokens.png'
    """
    if not panels:
        raise ValueError("There is nothing to draw; pass at least one panel.")
    if not width >= 4:
        raise ValueError(f"A picture must be at least 4 inches wide, not {width}.")
    spectrogram = audio if isinstance(audio, Spectrogram) else Spectrogram.of_audio(audio)
    sheet = Sheet(width, dpi, spectrogram.seconds)
    if title:
        sheet.line(Part(title, 12, weight="bold"))
    if subtitle:
        sheet.paragraph(Part(subtitle, 9, MUTED), most=3)
    if spectrogram.whole is not None:
        said = f"The first {spectrogram.seconds:.1f} s of {spectrogram.whole:.1f} s: the model reads no more."
        sheet.paragraph(Part(said, 9, weight="bold"))
    sheet.gap(0.08)
    sheet.axes("spectrogram", 1.35, lambda axes: paint_spectrogram(axes, spectrogram))
    points = 72 * sheet.inner / spectrogram.seconds / frame_rate
    shown: set[str] = set()
    for number, panel in enumerate(panels):
        sheet.gap(0.26)
        shown |= _add_panel(sheet, number, panel, frame_rate, points)
    sheet.gap(0.46)
    _add_legend(sheet, shown, dense=points < NARROWEST)
    return sheet.finish()


def _add_panel(sheet: Sheet, number: int, panel: Panel, frame_rate: float, points: float) -> set[str]:
    """Add the rows of a panel; returns what the legend must explain.

    Args:
        sheet: the sheet to draw on.
        number: index of the panel.
        panel: the panel.
        frame_rate: tokens per second.
        points: width of a token.
    """
    before, after = panel.tokens_before, panel.tokens_after
    share = f" ({100 * after / before:.0f} %)" if before else ""
    asked = "" if panel.tokens_asked is None else f", asked for {panel.tokens_asked:,}"
    counts = f"{before:,} \N{RIGHTWARDS ARROW} {after:,} tokens{share}{asked}"
    sheet.line(Part(panel.name, 10, weight="bold"), Part(counts, 9, MUTED))
    if panel.text is not None:
        sheet.paragraph(Part(f"“{panel.text.strip()}”" if panel.text.strip() else "(no text)"))
    sheet.gap(0.05)
    dense = points < NARROWEST
    if panel.attention is not None:
        sheet.axes(f"attention-{number}", 0.5, lambda axes: paint_attention(axes, panel, frame_rate, dense))
        sheet.gap(0.04)
    if panel.slot is None:
        sheet.axes(f"tokens-{number}", 0.26, lambda axes: paint_unmapped(axes, panel, sheet.seconds))
        return set()
    runs = find_runs(panel)
    colours = [main_colour(KINDS[kind]) for kind in runs.kind.tolist()] if dense else slot_colours(runs)
    arcs = find_arcs(panel, runs, frame_rate, sheet.seconds, shortest=sheet.seconds / 200 if dense else 0.0)
    if len(arcs.source):
        heights = arcs.heights(sheet.inner / sheet.seconds, most=0.5)
        room = float(heights.max()) + 0.04
        sheet.axes(f"arcs-{number}", room, lambda axes: paint_arcs(axes, arcs, heights, colours, room))
    if dense:
        sheet.axes(f"tokens-{number}", 0.5, lambda axes: paint_density(axes, panel, runs, frame_rate))
    else:
        sheet.axes(f"tokens-{number}", 0.26, lambda axes: paint_tokens(axes, runs, colours, frame_rate, points))
    shown = {KINDS[kind] for kind in set(runs.kind.tolist())}
    shown |= {"dropped"} if (runs.slot < 0).any() else set()
    return shown | ({"some arcs"} if arcs.total > len(arcs.source) else set())


def _add_legend(sheet: Sheet, shown: set[str], dense: bool) -> None:
    """Add a legend for the kinds of tokens that occur."""
    apart = "merged across others: " + ("" if dense else "same colour, ") + "arc to its place"
    keys = [
        ("kept", main_colour("kept"), "kept unchanged"),
        ("neighbours", main_colour("neighbours"), "neighbours merged"),
        ("apart", main_colour("apart"), apart + (" (some of the arcs)" if "some arcs" in shown else "")),
        ("away", AWAY, "merged away"),
        ("dropped", DROPPED, "dropped"),
    ]
    if dense and shown & {"neighbours", "apart"}:
        shown = shown | {"away"}
    handles = [Patch(facecolor=colour, edgecolor="none", label=label) for name, colour, label in keys if name in shown]
    if handles:
        sheet.legend(handles)
