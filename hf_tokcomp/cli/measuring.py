"""Progress bar and final plot of `hf-tokcomp eval` and `compare`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoints import SMALL_MODEL
from ..messages import shortened

if TYPE_CHECKING:
    from ..evaluation.asked import Asked
    from ..evaluation.score import Score

PICTURE = "quality.png"


def model_label(name: str) -> str:
    """The name of a model in results: the folder's own name for the shipped one, whose path says nothing to others."""
    return SMALL_MODEL.name if name == str(SMALL_MODEL) else name


def draw(scores: Sequence[Score], asked: Sequence[Asked], folder: Path) -> None:
    """Plot the results, if there is something to plot and matplotlib is installed."""
    if any(each.positions is not None for each in scores) and importlib.util.find_spec("matplotlib") is not None:
        from ..plotting.quality import plot_quality
        from ..plotting.saving import save

        save(plot_quality(scores, {each.task.name: _caption(each) for each in asked}), folder / PICTURE)


def _caption(asked: Asked) -> str:
    """The caption of a task in the plot, with its data and prompt."""
    items = f"{len(asked.items.items)} items of {shortened(asked.items.dataset, 40)}"
    return f"{asked.task.title}: {items}\n{asked.how(60)}"


@contextmanager
def progress(shown: bool, what: str = "batches") -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; yields a callback that takes the number of finished batches and the total."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    disable = not (shown and sys.stderr.isatty())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=disable) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
