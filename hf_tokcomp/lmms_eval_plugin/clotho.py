"""The evaluation split of Clotho from the user's unpacked folder, since no copy on the Hub is confirmed."""

from __future__ import annotations

import os
from pathlib import Path

from datasets import Dataset

from .captioning import one_row_per_clip
from .failing import failing_the_run

VARIABLE = "HF_TOKCOMP_CLOTHO"
"""The environment variable that names the folder."""
TABLE = "clotho_captions_evaluation.csv"
RECORDINGS = "evaluation"


def __getattr__(name: str) -> str:
    """``CAPTIONS``, used in the task's YAML; evaluated when the task is loaded, not when tasks are listed."""
    if name != "CAPTIONS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with failing_the_run():
        return str(_folder() / TABLE)


def _folder() -> Path:
    given = os.environ.get(VARIABLE, "")
    folder = Path(given)
    if not given or not (folder / TABLE).is_file() or not (folder / RECORDINGS).is_dir():
        raise FileNotFoundError(
            f"Set {VARIABLE} to the folder with {TABLE} and the folder {RECORDINGS}/ of recordings (docs/lmms-eval.md "
            f"says where they come from); it is {given!r}."
        )
    return folder


@failing_the_run()
def one_row_per_recording(dataset: Dataset) -> Dataset:
    """The table with the paths of the recordings and the five captions as one list: for ``process_docs``.

    Raises:
        FileNotFoundError: a recording is missing.
    """
    folder = _folder() / RECORDINGS
    paths = [str(folder / name) for name in dataset["file_name"]]
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} recordings are missing, the first one is {missing[0]}."
        )
    return one_row_per_clip(dataset.add_column("audio", paths))
