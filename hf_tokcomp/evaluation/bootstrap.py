"""Confidence intervals of scores: a percentile bootstrap over the recordings that items are made of.

Items from the same recording are not independent, and one item may combine several recordings. Recordings are drawn
with replacement, and the weight of an item is 1 + the sum over its recordings of (times drawn - 1). With one recording
per item, this is the ordinary cluster bootstrap. With several, it is the linear part of the pigeonhole bootstrap (Owen
2007, Annals of Applied Statistics 1(2)), which multiplies the times drawn: out of six recordings, usually at least one
is not drawn at all, and hardly any item would have a nonzero weight. Using the linear part is our choice. It counts
the randomness of an item itself once per recording, so that intervals tend to be too wide rather than too narrow.
Weights may be negative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["interval", "paired_difference"]

Array = NDArray[np.float64]
Value = Callable[[Array], Array]

COUNTS_AT_ONCE = 2**21
"""Number of (resample, recording) counts held in memory at a time: 16 MB each for the draws and the counts."""


def interval(
    statistics: Array,
    clusters: Sequence[Sequence[str]],
    value: Value,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute the confidence interval of a score.

    Args:
        statistics: ``(items, k)``, from `ItemMetric.statistics`.
        clusters: for each item, the names of the recordings it was made from; duplicates count once.
        value: maps sums ``(..., k)`` to scores ``(...)``, such as `ItemMetric.value`.
        level: the fraction of resamples inside the interval.
        resamples: number of resamples.
        seed: seed of the random draws.

    Returns:
        Lower and upper bound, in the unit of the score. Both are nan if all items come from one recording, which says
        nothing about others, or if the score is undefined in more than ``1 - level`` of the resamples; if fewer are
        undefined, they are ignored.

    Raises:
        ValueError: there are no items, an item has no recording names, statistics are not finite, the level is not
            between 0 and 1, or there are no resamples.
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
    """Compute the difference between scores a and b on the same items, and its interval, with the same draws for both.

    If the interval does not contain 0, one of the two is better.

    Args:
        statistics_a: ``(items, k)``.
        statistics_b: ``(items, k)``, for the same items in the same order.
        clusters, value, level, resamples, seed: as for `interval`.

    Returns:
        The score of a minus that of b, and the bounds of that difference, both nan in the same cases as in `interval`.

    Raises:
        ValueError: as for `interval`, or the two shapes differ.
    """
    a, b = np.asarray(statistics_a, np.float64), np.asarray(statistics_b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"Statistics of shapes {a.shape} and {b.shape} are not of the same items and metric.")
    k = a.shape[-1]
    sums = _resampled(np.concatenate([a, b], axis=-1), clusters, resamples, seed)
    low, high = _ends(value(sums[:, :k]) - value(sums[:, k:]), level)
    return float(value(a.sum(axis=0)) - value(b.sum(axis=0))), low, high


def _resampled(statistics: Array, clusters: Sequence[Sequence[str]], resamples: int, seed: int) -> Array:
    """The weighted sums of statistics in each resample: ``(resamples, k)``, nan if there is only one recording."""
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
        # The weighted sum over items equals a sum over recordings, so no (resamples, items) array is created.
        sums[start : start + rows] = statistics.sum(axis=0) + (times - 1.0) @ by_recording
    return sums


def _sums_by_recording(statistics: Array, clusters: Sequence[Sequence[str]]) -> Array:
    """For each recording, the sum of statistics over its items: ``(recordings, k)``, in order of appearance."""
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
