"""Writing a picture to a file: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..hub.whole_files import whole_file

SUFFIXES = (".png", ".pdf", ".svg")


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path, if a picture can be written there; ask before a model runs for minutes.

    Raises:
        ValueError: the name does not end in one of `SUFFIXES`.
        FileNotFoundError: there is no such folder.
        IsADirectoryError: it is a folder.

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
    """Write a figure as PNG, PDF or SVG, by the file's ending. If that fails, what was there before stays.

    Raises:
        what `check_path` raises.
        OSError: it cannot be written, the disk is full, say.

    Example:
        >>> from hf_tokcomp.plotting import plot, save
        >>> figure = plot(model, processor, "question.wav", ["top_k", "ltbm"], prompt="Transcribe the digits.")
        >>> save(figure, "tokens.svg").name
        'tokens.svg'
    """
    target = check_path(path)
    with whole_file(target) as part, part.open("wb") as file:
        # Everything is said here, so that no setting of the user's own pictures changes this one.
        look: dict[str, Any] = {"facecolor": figure.get_facecolor(), "bbox_inches": figure.bbox_inches}
        figure.savefig(file, format=target.suffix.lower()[1:], dpi=figure.dpi, **look)
    return target
