"""recordings_in: find the recordings in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from ..messages import shortened

READ = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64")
NOT_READ = (".m4a", ".aac", ".wma", ".amr")
"""Audio that soundfile cannot read: it is named as such, and never passed over in silence."""


def recordings_in(folder: Path) -> list[Path]:
    """The recordings in a folder and its subfolders, found by file suffix and sorted by path.

    Raises:
        FileNotFoundError: there is no such folder, or no recording in it.
    """
    if not os.path.isdir(folder):  # not folder.is_dir(), which raises where a name is too long
        raise FileNotFoundError(f"There is no folder {shortened(str(folder))}.")
    found = sorted(
        Path(where) / name
        for where, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(READ + NOT_READ) and not name.startswith(".")
    )
    if not found:
        raise FileNotFoundError(f"{folder} holds no recordings: no file ends in {', '.join(READ)}.")
    return found
