"""Writing a plot to a file atomically."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..hub.whole_files import whole_file

SUFFIXES = (".png", ".pdf", ".svg")


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path, if a plot can be written there; check this before a model runs for minutes.

    Raises:
        ValueError: the name does not end in one of `SUFFIXES`.
        FileNotFoundError: the folder does not exist.
        IsADirectoryError: the path is a folder.

    Example:
        >>> from hf_tokcomp.plotting import check_path
        >>> check_path("tokens.png").suffix
        '.png'
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{target.name} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.absolute().parent} to write {target.name} to.")
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; name a file.")
    return target


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, PDF or SVG, depending on the extension. If that fails, an existing file is kept.

    Raises:
        what `check_path` raises.
        OSError: the file cannot be written, for example because the disk is full.

    Example:
        >>> from hf_tokcomp.plotting import plot, save
        >>> figure = plot(model, processor, "question.wav", ["top_k", "ltbm"], prompt="Transcribe the digits.")
        >>> save(figure, "tokens.svg").name
        'tokens.svg'
    """
    target = check_path(path)
    with whole_file(target) as part, part.open("wb") as file:
        # All options are set explicitly, so that the user's matplotlib settings have no effect.
        look: dict[str, Any] = {"facecolor": figure.get_facecolor(), "bbox_inches": figure.bbox_inches}
        figure.savefig(file, format=target.suffix.lower()[1:], dpi=figure.dpi, **look)
    return target
