"""Finding the audio, text and prompt columns of a table, and reading their values in a uniform format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from ..messages import several, shown
from .arrow_tables import holds_audio
from .table import Table

AUDIO = ("audio", "path", "file", "file_name", "filename", "audio_path", "wav", "context")
TEXT = (
    "text", "sentence", "transcript", "transcription", "normalized_text",
    "caption", "answer", "answers", "translation", "label",
)  # fmt: skip
PROMPT = ("prompt", "instruction", "question")


def find_column(table: Table, what: str, given: str | None, usual: Sequence[str]) -> str | None:
    """The column for a role: the given one, or the only one with a usual name; None if there is none.

    Raises:
        ValueError: the given column does not exist, or several columns match.
    """
    has = f"{table.name} has the columns {several(table.columns)}"
    if given:
        if given not in table.columns:
            raise ValueError(f"There is no column {shown(given)} for {what}_column: {has}.")
        return given
    fits = [column for column in usual if column in table.columns]
    if what == "audio":
        inline = [column for column in fits if _is_inline(table, column)]
        fits = inline or fits
        if "audio" in fits:  # next to `path` or `file`, which name the same recording
            return "audio"
    if len(fits) > 1:
        none = ' ("" for none)' if what == "prompt" else ""
        raise ValueError(
            f"{has}; {' and '.join(fits)} could each be the {what} column; choose one with {_options(what)}{none}."
        )
    return fits[0] if fits else None


def required_column(table: Table, what: str, given: str | None, usual: Sequence[str]) -> str:
    """The column for a role, as in `find_column`, but required.

    Raises:
        ValueError: there is none, or several columns match.
    """
    found = find_column(table, what, given, usual)
    if found is None:
        raise ValueError(
            f"{table.name} has the columns {several(table.columns)}, none of which is called {', '.join(usual)}: "
            f"name the one that holds the {what} with {_options(what)}."
        )
    return found


def _options(what: str) -> str:
    """How to specify the column: in Python and for `finetune`, and for the other commands."""
    role = "question" if what == "prompt" else what
    return f"{what}_column=... (--columns {role}:NAME)"


def _is_inline(table: Table, column: str) -> bool:
    return not isinstance(table.content, list) and holds_audio(table.content, column)


def has_column(table: Table, name: str) -> bool:
    """Whether there is a column with this name or, for ``column.field``, a column of structs with this field."""
    column, dot, field = name.partition(".")
    if not dot or name in table.columns:
        return name in table.columns
    if column not in table.columns:
        return False
    if isinstance(table.content, list):
        return any(isinstance(row.get(column), dict) and field in row[column] for row in table.content)
    feature = table.content.features[column]
    return isinstance(feature, dict) and field in feature


def values(table: Table, column: str) -> list[Any]:
    """The values of a column, with class labels as class names; ``column.field`` selects a field of structs."""
    if column not in table.columns and has_column(table, column):
        column, _, field = column.partition(".")
        return [value.get(field) if isinstance(value, dict) else None for value in values(table, column)]
    if isinstance(table.content, list):
        return [row.get(column) for row in table.content]
    found = list(table.content[column])
    feature = table.content.features[column]
    if isinstance(feature, datasets.ClassLabel):
        return [None if value is None or value < 0 else feature.int2str(value) for value in found]
    return found


def texts(value: Any) -> list[str]:
    """The texts in a value: a single one or those of a list; numbers as strings, missing values as "".

    Raises:
        ValueError: the value has another type.
    """
    if isinstance(value, list | tuple | np.ndarray):
        return [single for entry in value for single in texts(entry)] or [""]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return [""]
    if isinstance(value, str):
        return [value.strip()]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [str(value)]
    raise ValueError(f"the text is {shown(value)}, a {type(value).__name__}")
