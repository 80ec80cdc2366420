"""Parsing of options shared by commands and scripts: comma-separated lists, columns by role, precisions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any

from ..messages import shown

DTYPES = ("float32", "bfloat16", "float16")


def parse_list(text: str, option: str, kind: Callable[[str], Any], allowed: Sequence[Any] = ()) -> list[Any]:
    """The values of a comma-separated list.

    Raises:
        ValueError: it is empty, or a value is invalid.
    """
    values = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            value = kind(part)
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"{option}: {shown(part)} is not a number.") from None
        if allowed and value not in allowed:
            raise ValueError(f"{option}: {shown(part)} is not one of {', '.join(map(str, allowed))}.")
        values.append(value)
    if not values:
        raise ValueError(f"{option} is empty.")
    return list(dict.fromkeys(values))


def parse_ratios(text: str, option: str = "--retention-ratio") -> list[float]:
    """Retention ratios, each as a fraction or a decimal: ``1/2,0.25``.

    Raises:
        ValueError: there is none, or one is not a number.
    """
    return parse_list(text, option, lambda part: float(Fraction(part)))


def parse_columns(text: str | None, may_be_none: Collection[str] = ()) -> Mapping[str, str]:
    """``audio:context,text:answer`` as column names by role; empty for None.

    Args:
        text: the columns.
        may_be_none: roles that may have an empty name, meaning no column.

    Raises:
        ValueError: the text is not in this format.
    """
    found: dict[str, str] = {}
    for part in () if text is None else text.split(","):
        role, colon, name = part.strip().partition(":")
        if not colon or not (name or role in may_be_none):
            raise ValueError(f"--columns: {part!r} is not ROLE:NAME.")
        found[role] = name
    return found


def one_of(recordings: int) -> str:
    """The ending of a message about one of several recordings: how to skip it; "" for a single recording."""
    if recordings == 1:
        return ""
    return f"It is one of {recordings} recordings; --on-error skip leaves out what cannot be read."
