"""How sure a score is: a percentile bootstrap over recordings, from which items may be put together.

Items of one recording are not independent, and one item may join several recordings. Recordings are drawn with
replacement, and an item weighs 1 + the sum over its recordings of (times drawn - 1). With one recording in each item
that is the ordinary bootstrap of clusters. With several it is the linear part of the pigeonhole bootstrap (Owen 2007,
Annals of Applied Statistics 1(2)), which multiplies the times drawn: of six recordings one mostly is not drawn at all,
and hardly an item would weigh anything. The linear part is our reading. What is random in an item alone it counts once
for each of its recordings, so that intervals are rather too wide than too narrow. A weight may be negative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["interval", "paired_difference"]

Array = NDArray[np.float64]
Value = Callable[[Array], Array]

COUNTS_AT_ONCE = 2**21
"""How many counts of (resamples, recordings) are held at a time: 16 MB each for the draws and the counts."""


def interval(
    statistics: Array,
    clusters: Sequence[Sequence[str]],
    value: Value,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval of a score.

    Args:
        statistics: ``(items, k)``, of `ItemMetric.statistics`.
        clusters: for each item, the names of the recordings it was made of; a name counts once.
        value: from sums ``(..., k)`` to scores ``(...)``, such as `ItemMetric.value`.
        level: the share of resamples inside.
        resamples: how often the recordings are drawn.
        seed: of the draws.

    Returns:
        Lower and upper end, in the score's unit. Both are nan where all items are of one recording, which says nothing
        of others, and where the score is undefined in more than ``1 - level`` of the resamples; fewer are left out.

    Raises:
        ValueError: no items, not the names of at least one recording for each, statistics that are not finite, a level
            outside of 0 to 1, no resamples.
    """
    return _ends(value(_resampled(np.asarray(statistics, np.float64), clusters, resamples, seed)), level)


def paired_difference(
    statistics_a: Array,
    statistics_b: Array,
    clusters: Sequence[Sequence[str]],
    value: Value,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """How much a scores above b on the same items, and the interval of that, with the same draws for both.

    Where the interval does not hold 0, one of them is better.

    Args:
        statistics_a: ``(items, k)``.
        statistics_b: ``(items, k)``, of the same items in the same order.
        clusters, value, level, resamples, seed: as for `interval`.

    Returns:
        The score of a less that of b, and the lower and upper end of that difference, both nan as for `interval`.

    Raises:
        ValueError: as for `interval`, or the two do not have one shape.
    """
    a, b = np.asarray(statistics_a, np.float64), np.asarray(statistics_b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"Statistics of shapes {a.shape} and {b.shape} are not of the same items and metric.")
    k = a.shape[-1]
    sums = _resampled(np.concatenate([a, b], axis=-1), clusters, resamples, seed)
    low, high = _ends(value(sums[:, :k]) - value(sums[:, k:]), level)
    return float(value(a.sum(axis=0)) - value(b.sum(axis=0))), low, high


def _resampled(statistics: Array, clusters: Sequence[Sequence[str]], resamples: int, seed: int) -> Array:
    """The weighted sums of statistics in each resample: ``(resamples, k)``, nan where there is one recording only."""
    if resamples < 1:
        raise ValueError(f"resamples={resamples}: draw at least once.")
    by_recording = _sums_by_recording(statistics, clusters)
    recordings = len(by_recording)
    sums = np.full((resamples, statistics.shape[1]), np.nan)
    if recordings == 1:
        return sums
    rng = np.random.default_rng(seed)
    block = max(1, COUNTS_AT_ONCE // recordings)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(recordings, size=(rows, recordings)) + recordings * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * recordings).reshape(rows, recordings)
        # The weights' sum over items is a sum over recordings: nothing of (resamples, items) is ever made.
        sums[start : start + rows] = statistics.sum(axis=0) + (times - 1.0) @ by_recording
    return sums


def _sums_by_recording(statistics: Array, clusters: Sequence[Sequence[str]]) -> Array:
    """The sum of statistics over the items that hold a recording: ``(recordings, k)``, in order of appearance."""
    if statistics.ndim != 2 or len(statistics) == 0:
        raise ValueError(f"Statistics of shape {statistics.shape} are not (items, k) of at least one item.")
    if not np.isfinite(statistics).all():
        raise ValueError("The statistics hold nan or infinity; leave such items out.")
    if len(clusters) != len(statistics):
        raise ValueError(
            f"There are {len(statistics)} items and the recordings of {len(clusters)}; name those of each."
        )
    index: dict[str, int] = {}
    pairs = []
    for item, names in enumerate(clusters):
        if isinstance(names, str) or len(names) == 0:
            raise ValueError(
                f"Item {item} has clusters {names!r}; give a list with the name of at least one recording."
            )
        pairs += [(index.setdefault(name, len(index)), item) for name in dict.fromkeys(names)]
    recording, item_of = np.array(pairs).T
    sums = np.zeros((len(index), statistics.shape[1]))
    np.add.at(sums, recording, statistics[item_of])
    return sums


def _ends(scores: Array, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"level={level}: give a share between 0 and 1, such as 0.95.")
    defined = scores[~np.isnan(scores)]
    if len(scores) - len(defined) > (1 - level) * len(scores):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
