"""Compressions against `none` in the same run, which is measured first and last."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from ..baselines import BASELINES


def compare(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Put the ratio to `none` into every measurement at fixed concurrency, in place.

    Args:
        rows: the rows of a report, as far as there are any.

    Returns:
        By concurrency, how far the two measurements of `none` are apart, as a fraction of their mean, which is what
        they are compared with; no entry as long as there is one only.
    """
    noise = {}
    for clients in dict.fromkeys(one["concurrency"] for row in rows for one in row["fixed"]):
        own = [(row, one) for row in rows for one in row["fixed"] if one["concurrency"] == clients]
        plain = [one["requests_per_second"] for row, one in own if row["candidate"] in BASELINES]
        mean = statistics.mean(plain)
        for _, one in own:
            one["times_none"] = one["requests_per_second"] / mean
        if len(plain) > 1:
            noise[str(clients)] = (max(plain) - min(plain)) / mean
    return noise
