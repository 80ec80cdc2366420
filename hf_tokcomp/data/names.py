"""Names of data: what is a file, a folder or a data set on the Hub; known without `datasets`, which takes a second."""

from __future__ import annotations

import os
from pathlib import Path

from ..hub.ids import is_hub_id
from ..messages import shortened

TEXT_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
FILES = (*TEXT_SUFFIXES, ".parquet")
"""Endings of tables."""


def check_dataset(name: str) -> None:
    """Raise where a name is of nothing here, and can be of nothing on the Hub.

    Raises:
        FileNotFoundError: so it is.
    """
    path = Path(name).expanduser()
    if os.path.isfile(path) or os.path.isdir(path):  # not path.is_file(), which raises where a name is too long
        return
    if path.suffix.lower() in FILES or not is_hub_id(name):
        why = "." if path.suffix else ", and it is no Hub id (user/name)."
        raise FileNotFoundError(f"There is no file or folder {shortened(name)}{why}")
