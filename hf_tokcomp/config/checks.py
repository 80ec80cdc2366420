"""FieldChecks: what a config may demand of its fields."""

from __future__ import annotations

import math
import sys
from typing import Any, get_args

from ..errors import CompressionConfigError
from ..messages import shown


class FieldChecks:
    """Checks of one field each, by name, for ``__post_init__``."""

    def check_choice(self, name: str, choices: Any) -> None:
        """Raise unless the field is one of the strings of a ``Literal``."""
        if getattr(self, name) not in get_args(choices):
            raise CompressionConfigError(f"{name}={shown(getattr(self, name))} must be one of {get_args(choices)}.")

    def check_flag(self, name: str) -> None:
        """Raise unless the field is True or False."""
        if not isinstance(getattr(self, name), bool):
            raise CompressionConfigError(f"{name}={shown(getattr(self, name))} must be true or false.")

    def check_number(self, name: str, low: float, high: float, or_low: bool = False) -> None:
        """Raise unless the field is a finite number with ``low < value <= high``; with ``or_low``, low will do."""
        value = getattr(self, name)
        ok = isinstance(value, int | float) and not isinstance(value, bool)
        ok = ok and (low < value or (or_low and value == low)) and value <= min(high, sys.float_info.max)
        if not ok:  # NaN fails every comparison
            bound = f"{'>=' if or_low else '>'} {low:g}" + ("" if high == math.inf else f" and at most {high:g}")
            raise CompressionConfigError(f"{name}={shown(value)} must be a finite number {bound}.")

    def check_integer(self, name: str, low: int, high: int | None = None) -> None:
        """Raise unless the field is an integer with ``low <= value <= high``.

        Without ``high``, it must be below 2^53, where every JSON reader is exact.
        """
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= (high or 2**53 - 1):
            much = f" and at most {high}" if high else " and below 2^53" if _is_huge(value) else ""
            raise CompressionConfigError(f"{name}={shown(value)} must be an integer of at least {low}{much}.")


def _is_huge(value: object) -> bool:
    return isinstance(value, int) and value >= 2**53
