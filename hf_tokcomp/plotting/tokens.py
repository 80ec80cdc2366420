"""The tokens of a panel as shapes: runs of the same slot, their colours, and arcs from scattered members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from .data import Floats, Integers, Panel

Colour = tuple[float, float, float]

DROPPED: Colour = to_rgb("#e3e3e3")
KINDS = ("kept", "neighbours", "apart")
"""Kinds of slots: a single token, adjacent tokens, or tokens with others in between."""
# Distinguishable with every type of colour vision (simulated in a test); no two kinds share a colour.
PALETTE: dict[str, tuple[str, ...]] = {
    "kept": ("#0063a8", "#62b5ea"),
    "neighbours": ("#118a5e", "#a2dc9c"),
    "apart": ("#d55e00", "#5e1f66", "#f0a800", "#222222", "#d77fb0"),
}
MOST_ARCS, MOST_LAYERS = 300, 10


@dataclass(eq=False)
class Runs:
    """Maximal runs of tokens with the same slot, in temporal order.

    Args:
        start: ``(runs,)`` first token.
        end: ``(runs,)`` the token after the last.
        slot: ``(runs,)``, -1 for dropped tokens.
        kind: ``(slots,)`` index into `KINDS`.
    """

    start: Integers
    end: Integers
    slot: Integers
    kind: Integers


def find_runs(panel: Panel) -> Runs:
    """The runs of a panel that maps tokens to slots. Every dropped token is a run of its own."""
    slot = panel.slot
    if slot is None:
        raise ValueError(f"{panel.name} does not map tokens to slots.")
    begins = np.ones(len(slot), dtype=bool)
    begins[1:] = (slot[1:] != slot[:-1]) | (slot[1:] < 0)
    start = np.flatnonzero(begins)
    end = np.append(start, len(slot))[1:]
    members = np.bincount(slot + 1, minlength=panel.tokens_after + 1)[1:]
    pieces = np.bincount(slot[start] + 1, minlength=panel.tokens_after + 1)[1:]
    return Runs(start, end, slot[start], np.where(pieces > 1, 2, (members > 1).astype(np.int64)))


def slot_colours(runs: Runs) -> list[Colour]:
    """One colour per slot, shared by its members and different from those of neighbouring slots.

    A slot takes the first colour of its kind that no neighbour has; a scattered one takes the least recently used.
    """
    slots = len(runs.kind)
    beside: list[set[int]] = [set() for _ in range(slots)]
    for left, right in zip(runs.slot[:-1].tolist(), runs.slot[1:].tolist(), strict=True):
        if left >= 0 and right >= 0:
            beside[left].add(right)
            beside[right].add(left)
    chosen: list[tuple[int, int] | None] = [None] * slots  # kind and index in its palette
    last_use: dict[tuple[int, int], int] = {}
    for turn, slot in enumerate(dict.fromkeys(runs.slot[runs.slot >= 0].tolist())):
        kind = int(runs.kind[slot])
        taken = {chosen[other] for other in beside[slot]}
        free = [(kind, i) for i in range(len(PALETTE[KINDS[kind]])) if (kind, i) not in taken]
        if not free:  # more neighbours than colours: paler ones
            free = [next((kind, i) for i in range(len(taken) + 1) if (kind, i) not in taken)]
        # The two shades of a kind only separate neighbours; hues show which members belong together.
        best = free[0] if KINDS[kind] != "apart" else min(free, key=lambda colour: last_use.get(colour, -1))
        chosen[slot], last_use[best] = best, turn
    return [DROPPED if colour is None else _colour(KINDS[colour[0]], colour[1]) for colour in chosen]


def main_colour(kind: str) -> Colour:
    """The colour of a kind in the legend and in density plots."""
    return to_rgb(PALETTE[kind][0])


def _colour(kind: str, number: int) -> Colour:
    palette = PALETTE[kind]
    paler = 1 - 0.75 ** (number // len(palette))
    red, green, blue = (value + paler * (1 - value) for value in to_rgb(palette[number % len(palette)]))
    return red, green, blue


def rectangles(start: Floats, end: Floats, height: Floats | float = 1.0) -> NDArray[np.float64]:
    """``(rectangles, 4, 2)`` corners of rectangles from 0 up to ``height``."""
    top = np.broadcast_to(np.asarray(height, dtype=np.float64), start.shape)
    low = np.zeros_like(top)
    x = np.stack([start, end, end, start], axis=1)
    return np.stack([x, np.stack([low, low, top, top], axis=1)], axis=2)


@dataclass(eq=False)
class Arcs:
    """Arcs from the scattered members of a slot to its position.

    Args:
        source: ``(arcs,)`` seconds, the centre of a run of members.
        target: ``(arcs,)`` seconds, the centre of the slot's position.
        slot: ``(arcs,)`` the slot.
        total: number of arcs before they were thinned out.
    """

    source: Floats
    target: Floats
    slot: Integers
    total: int

    def heights(self, inches_per_second: float, most: float) -> Floats:
        """``(arcs,)`` inches: semicircles, flattened if the widest would be higher than ``most``."""
        radius = np.abs(self.target - self.source) / 2 * inches_per_second
        widest = radius.max(initial=0.0)
        # Square root: an arc of one second remains visible among arcs of minutes.
        return radius if widest <= most else np.minimum(radius, most * np.sqrt(radius / widest))

    def lines(self, heights: Floats) -> NDArray[np.float64]:
        """``(arcs, points, 2)`` semi-ellipses of these heights."""
        angle = np.linspace(0, np.pi, 25)
        middle, half = (self.source + self.target) / 2, (self.target - self.source) / 2
        x = middle[:, None] - half[:, None] * np.cos(angle)
        return np.stack([x, heights[:, None] * np.sin(angle)], axis=2)


def find_arcs(panel: Panel, runs: Runs, frame_rate: float, seconds: float, shortest: float = 0.0) -> Arcs:
    """One arc for every run of a scattered slot that does not contain the slot's position.

    If ten or more would overlap, they are thinned out evenly over time.

    Args:
        panel: the panel.
        runs: its runs.
        frame_rate: tokens per second.
        seconds: length of the time axis.
        shortest: minimum length of an arc in seconds; shorter ones are omitted.
    """
    if panel.position is None:
        raise ValueError(f"{panel.name} has no positions.")
    position = panel.position[runs.slot.clip(min=0)]
    scattered = (runs.slot >= 0) & (runs.kind[runs.slot.clip(min=0)] == KINDS.index("apart"))
    away = (position < runs.start) | (position >= runs.end)
    source, target = (runs.start + runs.end) / 2 / frame_rate, (position + 0.5) / frame_rate
    drawn = np.flatnonzero(scattered & away & (np.abs(target - source) >= shortest))
    total = len(drawn)
    layers = float(np.abs(target - source)[drawn].sum()) / seconds
    most = min(total, max(MOST_LAYERS * 3, int(total * MOST_LAYERS / max(layers, MOST_LAYERS))), MOST_ARCS)
    drawn = drawn[np.arange(most) * total // max(most, 1)]
    return Arcs(source[drawn], target[drawn], runs.slot[drawn], total)


def slots_per_bin(panel: Panel, runs: Runs, edges: Sequence[int] | Integers) -> NDArray[np.int64]:
    """``(kinds + 1, bins)``: number of slots by position, and of dropped tokens in the last row.

    Args:
        panel: the panel.
        runs: its runs.
        edges: ``(bins + 1,)`` tokens at which the bins start and end.
    """
    if panel.position is None:
        raise ValueError(f"{panel.name} has no positions.")
    places = [panel.position[runs.kind == kind] for kind in range(len(KINDS))] + [runs.start[runs.slot < 0]]
    return np.stack([np.histogram(place, edges)[0] for place in places])
