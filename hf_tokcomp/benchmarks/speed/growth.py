"""Growth of time and memory with the length of the audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..measure import power

GROWING: dict[str, Callable[[dict[str, Any]], float]] = {
    "total": lambda row: row["total"]["median"],
    "encoder": lambda row: row["encoder"]["median"],
    "prefill": lambda row: row["prefill"]["median"],
    "peak_bytes": lambda row: row["peak_bytes"],
    "cache_bytes": lambda row: row["cache_bytes"],
}


def growth(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The exponents p of the best-fitting powers N^p per candidate, over the lengths at the smallest batch size.

    Args:
        rows: the rows of a report.

    Returns:
        A dict per candidate that was measured at two or more lengths: ``seconds``, the lengths, and an exponent for
        each of `GROWING`. With few or similar lengths, an exponent means little.
    """
    smallest = min((row["batch_size"] for row in rows), default=1)
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["batch_size"] == smallest and row["way"] == "batch":
            found.setdefault((row["candidate"], row["retention_ratio"]), []).append(row)
    result = []
    for (label, ratio), own in found.items():
        own = sorted(own, key=lambda row: row["seconds"])
        lengths = [row["seconds"] for row in own]
        if len(set(lengths)) > 1:
            exponents = {name: power(lengths, [get(row) for row in own]) for name, get in GROWING.items()}
            result.append({"candidate": label, "retention_ratio": ratio, "seconds": lengths, **exponents})
    return result
