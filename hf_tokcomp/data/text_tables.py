"""Text tables: JSONL, JSON, CSV and TSV as rows of plain values, with the line number of each row.

Uses Python's own readers instead of pandas or Arrow, so that every value of a CSV stays a string ("007", "nan", "NA")
and errors name the line.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from ..messages import several

Rows = tuple[list[dict[str, Any]], list[int] | None]


def read_text_table(path: Path) -> Rows:
    """The rows of a file with one of ``TEXT_SUFFIXES``, and the lines they begin on, from 1.

    The lines are None for a JSON document, whose rows have none. Blank lines and a byte order mark are skipped.

    Raises:
        ValueError: a line cannot be read; the message names it.
    """
    text = _text(path)
    if path.suffix.lower() == ".tsv":
        return _read_tsv(text, path)
    if path.suffix.lower() == ".csv":
        return _read_csv(text, path, _delimiter(text))
    return _read_json(text, path) if path.suffix.lower() == ".json" else _read_jsonl(text, path)


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line} is not UTF-8 ({error.reason}); save the file as UTF-8.") from error


def _read_jsonl(text: str, path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    rows, lines = [], []
    # Not splitlines(), which also splits at characters that JSON allows inside a string.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is not valid JSON: {error}.") from error
        if not isinstance(row, dict):
            raise ValueError(f'{path}, line {number} is not an object such as {{"audio": "PATH", "text": "..."}}.')
        rows.append(row)
        lines.append(number)
    return rows, lines


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without duplicate names, of which Python's reader would silently take the last value.

    Raises:
        ValueError: a name occurs more than once.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"an object has more than one value named {several(_repeated(names))}")
    return found


def _repeated(names: list[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _read_json(text: str, path: Path) -> Rows:
    try:
        found = json.loads(text, object_pairs_hook=_object)
    except ValueError as error:
        if getattr(error, "msg", "") == "Extra data":  # several documents: JSON lines with another extension
            return _read_jsonl(text, path)
        raise ValueError(f"{path} is not valid JSON: {error}.") from error
    if isinstance(found, dict) and isinstance(found.get("data"), list):
        found = found["data"]
    if isinstance(found, dict):  # a file with a single row
        found = [found]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f'{path} is neither a list of objects nor an object with such a list as "data".')
    return found, None


def _delimiter(text: str) -> str:
    """The delimiter in the first line: spreadsheets write semicolons if the comma is the decimal separator."""
    header = text.lstrip().partition("\n")[0]
    return max(",;\t|", key=header.count)


def _read_tsv(text: str, path: Path) -> Rows:
    """Tab-separated; quotes are parsed as in CSV or, if that fails, kept as part of the text (as in Common Voice)."""
    try:
        return _read_csv(text, path, "\t", multiline=False)
    except ValueError:
        if '"' not in text:
            raise
        return _read_csv(text, path, "\t", quoting=csv.QUOTE_NONE)


def _read_csv(text: str, path: Path, delimiter: str, multiline: bool = True, quoting: Any = csv.QUOTE_MINIMAL) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    header: list[str] | None = None
    rows, lines, start = [], [], 1
    try:
        for fields in reader:
            begun, start = start, reader.line_num + 1
            if not any(field.strip() for field in fields):
                continue
            if not multiline and reader.line_num > begun:
                raise ValueError(f"{path}, line {begun}: a quoted field continues past the end of the line.")
            if header is None:
                header = _header(fields, path, begun)
                continue
            if len(fields) != len(header):
                raise ValueError(
                    f"{path}, line {begun} has {len(fields)} fields where the header has {len(header)} "
                    f"({several(header)}); a text that contains {delimiter!r} needs quotes."
                )
            rows.append(dict(zip(header, fields, strict=True)))
            lines.append(begun)
    except csv.Error as error:
        raise ValueError(f"{path}, line {start} cannot be read: {error}.") from error
    return rows, lines


def _header(fields: list[str], path: Path, line: int) -> list[str]:
    names = [field.strip() for field in fields]
    twice = _repeated(names)
    if twice:
        raise ValueError(f"{path}, line {line} has more than one column named {several(twice)}.")
    return names
