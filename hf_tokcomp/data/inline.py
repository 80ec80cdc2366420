"""Conversion of a table's audio column to the format that `datasets` stores: ``{"bytes", "path"}``, undecoded."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import soundfile

from ..audio.addresses import is_address
from ..audio.loading import scaled
from ..messages import shown
from .arrow_tables import holds_audio
from .columns import values
from .table import Table

STORED = pa.struct({"bytes": pa.binary(), "path": pa.string()})
FEATURES = datasets.Features({"audio": datasets.Audio(decode=False)})
Stored = dict[str, Any]


def audio_table(table: Table, column: str, sampling_rate: int) -> tuple[datasets.Dataset, dict[int, str]]:
    """The audio as a table with one column ``audio`` with absolute paths, and the reasons for rows without audio.

    Args:
        table: the table.
        column: its audio column.
        sampling_rate: the rate of arrays that come without one.
    """
    wrong: dict[int, str] = {}

    def stored(row: int, value: Any) -> Stored:
        try:
            return _stored(value, table, sampling_rate)
        except ValueError as error:
            wrong[row] = str(error)
            return {"bytes": None, "path": None}

    if isinstance(table.content, list) or not _is_stored(table.content, column):
        return _built([pa.array([stored(*pair) for pair in enumerate(values(table, column))], STORED)]), wrong
    kept = table.content.select_columns([column]).cast_column(column, FEATURES["audio"])
    if column != "audio":
        kept = kept.rename_column(column, "audio")
    chunks, row, changed = [], 0, False
    for chunk in kept.data.column("audio").chunks:
        contents, paths = chunk.flatten()
        named = paths.to_pylist()
        for place in np.flatnonzero(contents.is_null().to_numpy(zero_copy_only=False)).tolist():
            named[place] = stored(row + place, named[place])["path"]
            changed = True
        row += len(chunk)
        # The bytes are not copied: the chunk may be memory-mapped from a file larger than the memory.
        chunks.append(pa.StructArray.from_arrays([contents, pa.array(named, pa.string())], ["bytes", "path"]))
    return (_built(chunks) if changed else kept), wrong


def _is_stored(table: datasets.Dataset, column: str) -> bool:
    """Whether a column is in the format that `datasets` stores, or can be cast to it."""
    kind = table.data.schema.field(column).type
    # `datasets` would encode arrays with torchcodec.
    return holds_audio(table, column) and not (pa.types.is_struct(kind) and kind.get_field_index("array") >= 0)


def _built(chunks: list[pa.Array]) -> datasets.Dataset:
    column = pa.chunked_array(chunks, STORED)
    return datasets.Dataset(pa.Table.from_arrays([column], schema=FEATURES.arrow_schema))


def _stored(value: Any, table: Table, sampling_rate: int) -> Stored:
    """One audio in the stored format.

    Raises:
        ValueError: there is none, or it must not be read; the message says why.
    """
    if isinstance(value, Mapping):
        if value.get("array") is not None:
            return _encoded(value["array"], int(value.get("sampling_rate") or sampling_rate))
        if value.get("bytes") is not None:
            return {"bytes": value["bytes"], "path": value.get("path")}
        value = value.get("path")
    if isinstance(value, bytes):
        return {"bytes": value, "path": None}
    if isinstance(value, str) and value.strip():
        return {"bytes": None, "path": _located(value, table)}
    if value is None or isinstance(value, str):
        raise ValueError("there is no audio")
    raise ValueError(f"the audio is {shown(value)}, neither a path nor a dict with 'path', 'bytes' or 'array'")


def _encoded(array: Any, rate: int) -> Stored:
    """Samples encoded losslessly as the bytes of a WAV file."""
    try:
        samples = scaled(array).astype(np.float32)
        content = io.BytesIO()
        soundfile.write(content, samples if samples.ndim == 1 else samples.T, rate, format="WAV", subtype="FLOAT")
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"the array is not audio: {error}") from error
    return {"bytes": content.getvalue(), "path": None}


def _located(path: str, table: Table) -> str:
    """A path made absolute, relative to the table's folder; addresses are returned unchanged.

    Raises:
        ValueError: the path leads outside the downloaded files.
    """
    folder = os.path.abspath(table.folder or ".")
    if not table.confined:
        return path if is_address(path) else os.path.abspath(os.path.join(folder, path))
    # Links are not resolved: the Hub's cache consists of links to the actual files.
    located = os.path.abspath(os.path.join(folder, path))
    if is_address(path) or table.folder is None or not located.startswith(folder + os.sep):
        raise ValueError(f"{shown(path)} is not a file of the data set")
    return located
