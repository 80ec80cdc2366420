"""Where Clotho is: no data set on the Hub with its audio and captions is confirmed, so it is a folder of the user's."""

from __future__ import annotations

import os
from pathlib import Path

from .failing import failing_the_run

VARIABLE = "HF_TOKCOMP_CLOTHO"
"""The environment variable that names the folder."""


def __getattr__(name: str) -> str:
    """``FOLDER``, which the task's YAML names; looked up when the task is loaded, not when tasks are listed."""
    if name != "FOLDER":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with failing_the_run():
        return _folder()


def _folder() -> str:
    folder = os.environ.get(VARIABLE, "")
    if not folder or not Path(folder).is_dir():
        raise FileNotFoundError(
            f"Set {VARIABLE} to a folder with Clotho's evaluation split (docs/lmms-eval.md says how it should look); "
            f"it is {folder!r}."
        )
    return folder
