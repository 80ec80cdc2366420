"""Tables read by `datasets`, from parquet files, saved folders or the Hub, with all audio left undecoded."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from ..messages import several, shown


class NeedsFilesError(Exception):
    """`datasets` cannot read this folder of recordings: it needs torchcodec for it, even if nothing is decoded."""


def load_table(what: str, name: str, /, **options: Any) -> datasets.Dataset:
    """`datasets.load_dataset` without progress bars in logs, and with errors that name what was requested.

    Args:
        what: the first argument of `load_dataset`.
        name: its name in messages.
        options: further arguments of `load_dataset`.

    Raises:
        NeedsFilesError: the files must be read without `datasets`.
        FileNotFoundError: nothing with this name exists.
        ValueError: there is no such split or config, or the table cannot be read.
        ConnectionError: the Hub could not be reached.
    """
    try:
        with quiet():
            return undecoded(datasets.load_dataset(what, **options))
    except datasets.exceptions.DatasetNotFoundError as error:
        raise FileNotFoundError(
            f"There is no file or folder {name}, and no data set on the Hub that you can read: {_said(error)}"
        ) from error
    except ConnectionError as error:
        raise ConnectionError(
            f"There is no file or folder {name}, and the Hub could not be asked for a data set of this name: "
            f"{_said(error)}"
        ) from error
    except (ValueError, ImportError, datasets.exceptions.DatasetsError) as error:
        if "torchcodec" in "".join(map(str, _causes(error))):
            raise NeedsFilesError(name) from error
        said = "; ".join(dict.fromkeys(map(_said, _causes(error))))
        raise ValueError(f"{name} cannot be read (split= and config_name= select a part): {said}") from error


def undecoded(table: datasets.Dataset) -> datasets.Dataset:
    """The table with ``{"bytes", "path"}`` in its audio columns: `datasets` decodes with torchcodec only."""
    for column, feature in table.features.items():
        if isinstance(feature, datasets.Audio):
            table = table.cast_column(column, datasets.Audio(decode=False))
    return table


def holds_audio(table: datasets.Dataset, column: str) -> bool:
    """Whether a column holds audio according to its type, not just its name."""
    if isinstance(table.features[column], datasets.Audio):
        return True
    kind = table.data.schema.field(column).type
    if pa.types.is_struct(kind):
        return bool({"bytes", "array"} & {field.name for field in kind})
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def saved_table(folder: Path, split: str | None) -> datasets.Dataset:
    """Load what `save_to_disk` wrote: a `Dataset`, or one split of a `DatasetDict`.

    Raises:
        ValueError: there is no such split.
    """
    with quiet():
        found = datasets.load_from_disk(str(folder))
    if isinstance(found, datasets.DatasetDict):
        chosen = split or ("train" if "train" in found or len(found) != 1 else next(iter(found)))
        if chosen not in found:
            raise ValueError(f"{folder} has no split {shown(chosen)}; choose one with split=: {several(found)}.")
        return undecoded(found[chosen])
    if split is not None and found.split is not None and str(found.split) != split:
        raise ValueError(f"{folder} holds one table only, of the split {found.split}, not {shown(split)}.")
    return undecoded(found)


def literal(path: Path) -> str:
    """A path escaped for `data_files`, which interprets patterns."""
    return glob.escape(str(path.absolute()))


@contextmanager
def quiet() -> Iterator[None]:
    """Disable the progress bars of `datasets` if stderr is not a terminal: in a log, each takes many lines."""
    silence = not sys.stderr.isatty() and not datasets.utils.are_progress_bars_disabled()
    if silence:
        datasets.utils.disable_progress_bars()
    try:
        yield
    finally:
        if silence:
            datasets.utils.enable_progress_bars()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _said(error: BaseException) -> str:
    """The message of an error as a single line of limited length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 400 else f"{text[:400]}..."
