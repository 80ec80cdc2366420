"""Where training data come from: a table, a folder or a Hub id, found and opened as a `Table`."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import snapshot_download

from ..hub.errors import hub_errors
from ..hub.ids import check_token, is_hub_id, split_revision
from ..messages import shortened
from .arrow_tables import NeedsFilesError, holds_audio, literal, load_table, quiet, saved_table
from .text_tables import SUFFIXES, read_text_table

logger = logging.getLogger(__name__)
FILES = (*SUFFIXES, ".parquet")


@dataclass(frozen=True, eq=False)
class Table:
    """A table as it was found.

    Args:
        name: how messages call it.
        content: rows of a text table, or a `datasets.Dataset` with its audio undecoded.
        folder: where relative paths start.
        lines: the line of each row, where there are lines (of rows beyond the first, too).
        confined: paths must lead to files in `folder`: a stranger wrote them.
    """

    name: str
    content: list[dict[str, Any]] | datasets.Dataset
    folder: Path | None = None
    lines: list[int] | None = None
    confined: bool = False

    @property
    def columns(self) -> list[str]:
        """The names of the columns; those of any row where rows differ."""
        if isinstance(self.content, list):
            return list(dict.fromkeys(key for row in self.content for key in row))
        return list(self.content.column_names)

    def first(self, rows: int | None) -> Table:
        """The table of the first rows; all of them for None."""
        if rows is None or rows >= len(self.content):
            return self
        few = self.content[:rows] if isinstance(self.content, list) else self.content.select(range(rows))
        return replace(self, content=few)


@dataclass(frozen=True)
class Source:
    """What is asked for; the arguments are those of `load_examples`."""

    split: str | None = None
    config_name: str | None = None
    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | None = None

    def open(self, name: str) -> Table:
        """The table under a name: a file, a folder or a Hub id, looked for in this order.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it cannot be read, or more than one fits.
        """
        path = Path(name).expanduser()
        if os.path.isfile(path):  # not path.is_file(), which raises where a name is too long
            return self._file(path)
        if os.path.isdir(path):
            return self._folder(path)
        if path.suffix.lower() in FILES or not is_hub_id(name):
            why = "." if path.suffix else ", and it is no Hub id (user/name)."
            raise FileNotFoundError(f"There is no file or folder {shortened(name)}{why}")
        return self._hub(name)

    def _file(self, path: Path, confined: bool = False) -> Table:
        if path.suffix.lower() in SUFFIXES:
            rows, lines = read_text_table(path)
            return Table(str(path), rows, path.parent, lines, confined)
        if path.suffix.lower() == ".parquet":
            found = load_table(
                "parquet", str(path), data_files={"train": [literal(path)]}, split="train", cache_dir=self.cache_dir
            )
            return Table(str(path), found, path.parent, None, confined)
        raise ValueError(f"{path} is not a table of examples; it should end in {', '.join(FILES)}.")

    def _folder(self, folder: Path, confined: bool = False) -> Table:
        """What is in a folder: what `datasets` saved, a file by its name, here or in the split's folder, or parquet."""
        split = self.split or "train"
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            return Table(str(folder), saved_table(folder, self.split), folder, None, confined)
        whole = ("manifest", "metadata")
        found = _named(folder, (split, *whole) if split == "train" else (split,)) or _named(
            folder / split, (*whole, split)
        )
        if found is not None:
            return self._file(found, confined)
        if next(folder.rglob("*.parquet"), None) is not None:
            return Table(str(folder), self._parquet(folder, split), folder, None, confined)
        here = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
        stems = " or ".join((split, *whole) if split == "train" else (split,))
        raise FileNotFoundError(
            f"{folder} holds no table of examples. Looked for: a folder of Dataset.save_to_disk; a file {stems} with "
            f"the ending {', '.join(FILES)}; a folder {split} with such a file {', '.join((*whole, split))}; parquet "
            f"files. It holds: {', '.join(here[:10]) or 'nothing'}{', ...' if len(here) > 10 else ''}."
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
                # A stranger wrote the table: paths are taken from it only where `datasets` has put the files there.
                return Table(name, found, None, None, confined=found.builder_name != "audiofolder")
        except NeedsFilesError:
            pass
        logger.info("The audio of %s is not in its tables: all its files are fetched.", name)
        with hub_errors(repo, revision, "the data set"), quiet():
            folder = snapshot_download(repo, repo_type="dataset", **where)
        return self._folder(Path(str(folder)), confined=True)


def _named(folder: Path, stems: tuple[str, ...]) -> Path | None:
    """The table in a folder with the first of these names that is there.

    Raises:
        ValueError: there is more than one, by their endings.
    """
    for stem in stems:
        found = [folder / f"{stem}{suffix}" for suffix in FILES if (folder / f"{stem}{suffix}").is_file()]
        if len(found) > 1:
            raise ValueError(f"{folder} holds {' and '.join(path.name for path in found)}: name the one that is meant.")
        if found:
            return found[0]
    return None
