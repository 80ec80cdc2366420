"""Reading untrusted JSON: size limits, and what is rejected.

Configs come from anyone. Whatever one contains, the result is a config or a `CompressionConfigError`, quickly and with
a message that fits on a screen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import CompressionConfigError
from ..messages import shown

MAX_BYTES = 2**20
MAX_DEPTH = 8
MAX_VALUES = 10_000
MAX_DIGITS = 20


def check_size(values: Mapping[str, Any]) -> None:
    """Raise if a config is nested more deeply, or is larger, than any method needs.

    Raises:
        CompressionConfigError: if it is.
    """
    pending: list[tuple[Any, int]] = [(values, 0)]
    count = 0
    while pending:
        value, depth = pending.pop()
        if not isinstance(value, Mapping | list | tuple):
            continue
        count += len(value)
        if depth >= MAX_DEPTH or count > MAX_VALUES:
            what = f"nested deeper than {MAX_DEPTH} levels" if depth >= MAX_DEPTH else f"of over {MAX_VALUES} values"
            raise CompressionConfigError(f"A compression config must be flat and small; this one is {what}.")
        pending += [(item, depth + 1) for item in (value.values() if isinstance(value, Mapping) else value)]


def parse_json(data: bytes, where: str, strict: bool = True) -> Any:
    """Parse JSON text.

    Args:
        data: the text, UTF-8.
        where: description of the source for messages.
        strict: reject what JSON's standard excludes or leaves open: NaN and infinities, numbers of more than 20 digits,
            duplicate keys.

    Raises:
        CompressionConfigError: the text is too long, not JSON, or rejected.
    """
    if len(data) > MAX_BYTES:
        raise too_large(where, len(data))
    hooks: dict[str, Any] = {
        "parse_constant": _refuse_constant,
        "parse_int": _integer,
        "parse_float": _float,
        "object_pairs_hook": _once_each,
    }
    try:
        return json.loads(data.decode("utf-8"), **(hooks if strict else {}))
    except RecursionError:
        raise CompressionConfigError(f"{where} is not valid JSON: it is nested too deeply.") from None
    except ValueError as error:
        raise CompressionConfigError(f"{where} is not valid JSON: {error}.") from error


def too_large(where: str, size: int) -> CompressionConfigError:
    """The error for a file beyond the limit."""
    return CompressionConfigError(
        f"{where} has {size:,} bytes; a compression config has a few hundred, and over {MAX_BYTES:,} none is read."
    )


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{shown(text)} is too large for a number")
    return value


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(key for key in keys if keys.count(key) > 1))} appears twice")
    return values
