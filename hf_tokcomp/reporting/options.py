"""Options that commands and scripts read alike: lists with commas, and the names of precisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..messages import shown

DTYPES = ("float32", "bfloat16", "float16")


def parse_list(text: str, option: str, kind: Callable[[str], Any], allowed: Sequence[str] = ()) -> list[Any]:
    """The values of a list with commas.

    Raises:
        ValueError: it is empty, or a value is not of the kind.
    """
    values = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            value = kind(part)
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"{option}: {shown(part)} is not a number.") from None
        if allowed and value not in allowed:
            raise ValueError(f"{option}: {shown(part)} is not one of {', '.join(allowed)}.")
        values.append(value)
    if not values:
        raise ValueError(f"{option} is empty.")
    return list(dict.fromkeys(values))


def one_of(recordings: int) -> str:
    """What a message about one of several recordings ends with: the way to go on without it; "" where it is alone."""
    if recordings == 1:
        return ""
    return f"It is one of {recordings} recordings; --on-error skip leaves out what cannot be read."
