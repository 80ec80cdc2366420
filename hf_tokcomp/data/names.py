"""Names of data sets: files, folders or Hub ids, checked without `datasets`, which takes a second to import."""

from __future__ import annotations

import os
from pathlib import Path

from ..hub.ids import is_hub_id
from ..messages import shortened

TEXT_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
FILES = (*TEXT_SUFFIXES, ".parquet")
"""File extensions of tables."""


def check_dataset(name: str) -> None:
    """Raise if a name is neither a local file or folder nor a possible Hub id.

    Raises:
        FileNotFoundError: it is neither.
    """
    path = Path(name).expanduser()
    if os.path.isfile(path) or os.path.isdir(path):  # not path.is_file(), which raises if a name is too long
        return
    if path.suffix.lower() in FILES or not is_hub_id(name):
        why = "." if path.suffix else ", and it is no Hub id (user/name)."
        raise FileNotFoundError(f"There is no file or folder {shortened(name)}{why}")
