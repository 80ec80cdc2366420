"""Sources of data: a table, a folder or a Hub id, located and opened as a `Table`."""

from __future__ import annotations

import logging
import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import snapshot_download

from ..audio.folders import recordings_in
from ..hub.errors import hub_errors
from ..hub.ids import check_token, split_revision
from .arrow_tables import NeedsFilesError, holds_audio, literal, load_table, quiet, saved_table
from .columns import AUDIO, values
from .names import FILES, TEXT_SUFFIXES, check_dataset
from .table import Table
from .text_tables import read_text_table

logger = logging.getLogger(__name__)
WHOLE = ("manifest", "metadata")


@dataclass(frozen=True)
class Source:
    """The requested part of a data set and how to fetch it.

    Args:
        split: as in `load_examples`, like the next four.
        config_name: the configuration.
        revision: the revision of a data set on the Hub.
        token: token for the Hub.
        cache_dir: cache of `datasets` and the Hub.
        bare: accept a folder of recordings without a table, when no reference texts are needed.
    """

    split: str | None = None
    config_name: str | None = None
    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | None = None
    bare: bool = False

    def open(self, name: str) -> Table:
        """The table with this name: a file, a folder or a Hub id, tried in this order.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it cannot be read, or more than one matches.
        """
        path = Path(name).expanduser()
        if os.path.isfile(path):  # not path.is_file(), which raises if a name is too long
            return self._file(path)
        if os.path.isdir(path):
            return self._folder(path)
        check_dataset(name)
        return self._hub(name)

    def _file(self, path: Path, confined: bool = False) -> Table:
        if path.suffix.lower() in TEXT_SUFFIXES:
            rows, lines = read_text_table(path)
            return Table(str(path), rows, path.parent, lines, confined=confined)
        if path.suffix.lower() == ".parquet":
            found = load_table(
                "parquet", str(path), data_files={"train": [literal(path)]}, split="train", cache_dir=self.cache_dir
            )
            return Table(str(path), found, path.parent, confined=confined)
        raise ValueError(f"{path} is not a table of examples; it should end in {', '.join(FILES)}.")

    def _folder(self, folder: Path, confined: bool = False) -> Table:
        """The table in a folder: saved by `datasets`, a table file here or in the split's folder, or parquet files."""
        split = self.split or "train"
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            return Table(str(folder), saved_table(folder, self.split), folder, confined=confined)
        part = folder / split
        # The table nearest to the recordings, as in an AudioFolder of `datasets`.
        found = _named(folder, (split, "manifest") if split == "train" else (split,)) or _named(part, (*WHOLE, split))
        if found is not None:
            return self._file(found, confined)
        found = _named(folder, ("metadata",)) if split == "train" or part.is_dir() else None
        if found is not None:
            table = self._file(found, confined)
            return _inside(table, split) if part.is_dir() else table
        if next(folder.rglob("*.parquet"), None) is not None:
            return Table(str(folder), self._parquet(folder, split), folder, confined=confined)
        where = part if self.split is not None else folder
        if self.bare and not any(path.suffix.lower() in TEXT_SUFFIXES for path in folder.rglob("*")):
            names = [{"audio": os.path.relpath(path, where)} for path in recordings_in(where)]
            return Table(str(where), names, where, confined=confined)
        here = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
        stems = " or ".join((split, *WHOLE) if split == "train" else (split,))
        raise FileNotFoundError(
            f"{folder} holds no table of examples. Looked for: a folder of Dataset.save_to_disk; a file {stems} with "
            f"the ending {', '.join(FILES)}; a folder {split} with such a file {', '.join((*WHOLE, split))}, or with "
            f"the recordings of a file metadata beside it; parquet files. "
            f"It holds: {', '.join(here[:10]) or 'nothing'}{', ...' if len(here) > 10 else ''}."
        )

    def _parquet(self, folder: Path, split: str) -> datasets.Dataset:
        try:
            return load_table(str(folder), str(folder), name=self.config_name, split=split, cache_dir=self.cache_dir)
        except NeedsFilesError as error:
            raise ValueError(f"{folder} holds recordings beside parquet files; name the parquet file.") from error

    def _hub(self, name: str) -> Table:
        check_token(self.token)
        repo, named = split_revision(name)
        revision = self.revision or named
        where: dict[str, Any] = {"token": self.token, "cache_dir": self.cache_dir, "revision": revision}
        try:
            found = load_table(repo, name, name=self.config_name, split=self.split or "train", **where)
            if any(holds_audio(found, column) for column in found.column_names):
                # The table is untrusted: its paths are used only if `datasets` itself placed the files there.
                return Table(name, found, confined=found.builder_name != "audiofolder")
        except NeedsFilesError:
            pass
        logger.info("The audio of %s is not in its tables: all its files are fetched.", name)
        with hub_errors(repo, revision, "the data set"), quiet():
            folder = snapshot_download(repo, repo_type="dataset", **where)
        return self._folder(Path(str(folder)), confined=True)


def _named(folder: Path, stems: tuple[str, ...]) -> Path | None:
    """The table in a folder with the first of these names that exists.

    Raises:
        ValueError: several exist, with different extensions.
    """
    for stem in stems:
        found = [folder / f"{stem}{suffix}" for suffix in FILES if (folder / f"{stem}{suffix}").is_file()]
        if len(found) > 1:
            raise ValueError(f"{folder} holds {' and '.join(path.name for path in found)}: name the one you mean.")
        if found:
            return found[0]
    return None


def _inside(table: Table, split: str) -> Table:
    """The rows of an AudioFolder's table whose recordings are in a split's folder.

    Raises:
        ValueError: there are none.
    """
    column = next((name for name in ("file_name", *AUDIO) if name in table.columns), None)
    names = values(table, column) if column is not None else []
    rows = [
        row
        for row, name in enumerate(names)
        if isinstance(name, str) and posixpath.normpath(name).startswith(f"{split}/")
    ]
    if not rows:
        raise ValueError(f"{table.name} lists no recording in the folder {split}/ next to it.")
    return table.only(rows)
