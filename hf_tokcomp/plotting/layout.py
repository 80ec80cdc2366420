"""Sheet: rows of text and axes from top to bottom, measured in inches, so that nothing overlaps.

Does not use pyplot and sets options only on its own objects, so the user's settings are not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from .axis import MUTED, bare, time_axis

INK = "#1a1a1a"
LEFT, RIGHT, BETWEEN = 0.85, 0.25, 0.12
"""Inches: left margin (with the labels) and right margin of the axes, and the gap between two texts."""
KEY = 0.45
"""Width in inches of a legend patch with the space around it."""
FONTS = (
    "DejaVu Sans",
    "Noto Sans",
    *(f"Noto Sans CJK {region}" for region in ("SC", "JP", "KR", "TC")),
    *("PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "WenQuanYi Zen Hei"),
    *("Noto Sans Devanagari", "Noto Sans Thai", "Nirmala UI", "Arial Unicode MS", "Unifont"),
)
"""Fonts tried in order for each character, if installed. matplotlib's default lacks Chinese, for example."""


class Part(NamedTuple):
    """A piece of a line of text."""

    text: str
    size: float = 9
    colour: str = INK
    weight: str = "normal"


class Sheet:
    """A figure that grows downwards.

    Args:
        width: inches.
        dpi: pixels per inch.
        seconds: length of the time axis that all axes share.
    """

    def __init__(self, width: float, dpi: float, seconds: float) -> None:
        self.figure = Figure(figsize=(width, 1), dpi=dpi, facecolor="white", edgecolor="white")
        self.figure.set_layout_engine("none")
        self.renderer: Any = FigureCanvasAgg(self.figure).get_renderer()  # type: ignore[no-untyped-call]
        self.width = width
        self.inner = width - LEFT - RIGHT
        self.seconds = seconds
        installed = {font.name for font in font_manager.fontManager.ttflist}
        self.fonts = [name for name in FONTS if name in installed] or ["sans-serif"]
        self.depth = 0.12
        self._later: list[Callable[[float], None]] = []

    def gap(self, inches: float) -> None:
        """Add empty space."""
        self.depth += inches

    def line(self, *parts: Part) -> None:
        """Add a line of text with its parts side by side; the first is shortened if they do not fit."""
        left, top = LEFT, self.depth
        for number, part in enumerate(parts):
            behind = sum(self.measure(printable(other.text), other) + BETWEEN for other in parts[number + 1 :])
            room = max(0.5, LEFT + self.inner - left - behind)
            for text in self.wrap(printable(part.text), part, room, most=1):
                self._later.append(lambda height, x=left, part=part, text=text: self._write(x, top, height, part, text))  # type: ignore[misc]
                left += self.measure(text, part) + BETWEEN
        self.depth += max(part.size for part in parts) / 72 * 1.35

    def paragraph(self, part: Part, most: int = 12) -> None:
        """Add text on as many lines as it needs, cut off after ``most``."""
        for text in self.wrap(printable(part.text), part, self.inner, most):
            self.line(part._replace(text=text))

    def axes(self, name: str, height: float, paint: Callable[[Axes], None]) -> None:
        """Add axes as wide as the page.

        Args:
            name: their id, also in an SVG.
            height: in inches.
            paint: function that draws into them.
        """
        top = self.depth
        self.depth += height

        def place(total: float) -> None:
            left, bottom = LEFT / self.width, 1 - (top + height) / total
            shared = self.figure.axes[0] if self.figure.axes else None
            axes = self.figure.add_axes((left, bottom, self.inner / self.width, height / total), sharex=shared)
            axes.set_gid(name)
            bare(axes)
            paint(axes)

        self._later.append(place)

    def legend(self, handles: Sequence[Any]) -> None:
        """Add a legend in one row, or in several if one is too short."""
        part, lines = Part("", 8, MUTED), 0
        for handle in handles:
            label = self.wrap(str(handle.get_label()), part, self.inner - KEY, most=3)
            lines += len(label) - 1
            handle.set_label("\n".join(label))
        widths = [max(self.measure(line, part) for line in handle.get_label().split("\n")) + KEY for handle in handles]
        columns = next((n for n in range(len(handles), 1, -1) if _columns_width(widths, n) <= self.inner), 1)
        top = self.depth
        self.depth += 0.2 * -(-len(handles) // columns) + 0.14 * lines + 0.05

        def place(total: float) -> None:
            self.figure.legend(
                handles=list(handles),
                loc="upper left",
                bbox_to_anchor=(LEFT / self.width, 1 - top / total),
                ncols=columns,
                frameon=False,
                borderpad=0,
                borderaxespad=0,
                handlelength=1.4,
                handleheight=0.9,
                columnspacing=1.6,
                prop=self._font(part),
                labelcolor=MUTED,
            )

        self._later.append(place)

    def finish(self) -> Figure:
        """Place everything, and add the time axis below the last axes."""
        height = self.depth + 0.08
        self.figure.set_size_inches(self.width, height)
        for place in self._later:
            place(height)
        time_axis(self.figure.axes[-1], self.seconds, self.inner)
        return self.figure

    def measure(self, text: str, part: Part) -> float:
        """Width of a text in inches."""
        width, _, _ = self.renderer.get_text_width_height_descent(text, self._font(part), ismath=False)
        return float(width) / self.figure.dpi

    def wrap(self, text: str, part: Part, room: float, most: int) -> list[str]:
        """The text as lines that fit; a word longer than a line is split."""
        lines, rest = [], text.strip()
        while rest:
            if self.measure(rest, part) <= room:
                lines.append(rest)
                break
            cut = self._fitting(rest, part, room)
            if len(lines) == most - 1:
                lines.append(rest[: self._fitting(rest, part, room - self.measure("…", part))].rstrip() + "…")
                break
            space = rest.rfind(" ", 0, cut + 1)
            cut = space if space > 0 else cut
            lines.append(rest[:cut].rstrip())
            rest = rest[cut:].lstrip()
        return lines

    def _fitting(self, text: str, part: Part, room: float) -> int:
        """Number of characters that fit, at least one."""
        low, high = 1, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.measure(text[:middle], part) <= room else (low, middle - 1)
        return low

    def _font(self, part: Part) -> FontProperties:
        return FontProperties(family=self.fonts, size=part.size, weight=part.weight)

    def _write(self, left: float, top: float, height: float, part: Part, text: str) -> None:
        self.figure.text(
            left / self.width,
            1 - top / height,
            text,
            va="top",
            color=part.colour,
            fontproperties=self._font(part),
            parse_math=False,  # an answer may contain "$5 and $6"
            usetex=False,
        )


def printable(text: str) -> str:
    """The text on one line, without characters that fonts cannot draw."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _columns_width(widths: Sequence[float], columns: int) -> float:
    return sum(max(widths[column::columns], default=0.0) for column in range(columns))
