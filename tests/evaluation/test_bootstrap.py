"""Intervals equal a slow bootstrap that repeats items, and say what they cannot know."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hf_tokcomp.evaluation import bootstrap
from hf_tokcomp.evaluation.bootstrap import interval, paired_difference


def mean(sums):
    """The first column per unit of the second, nan where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan)


def data(items: int, recordings: int, seed: int = 0, most: int = 1):
    rng = np.random.default_rng(seed)
    statistics = np.stack([rng.integers(0, 5, items), rng.integers(1, 6, items)], axis=1).astype(float)
    clusters = []
    for _ in range(items):
        chosen = rng.choice(recordings, size=rng.integers(1, most + 1), replace=False)
        clusters.append([f"recording {number}" for number in chosen])
    return statistics, clusters


def slow(statistics, clusters, resamples, seed, weigh):
    """The statistics of each resample, one after the other; `weigh` makes an item's weight of the times drawn."""
    names = list(dict.fromkeys(name for few in clusters for name in few))
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = [names[number] for number in rng.integers(len(names), size=len(names))]
        total = np.zeros(statistics.shape[1])
        for row, few in zip(statistics, clusters, strict=True):
            total = total + weigh([drawn.count(name) for name in dict.fromkeys(few)]) * row
        found.append(total)
    return np.array(found)


def test_one_recording_each_is_the_bootstrap_of_clusters():
    # The weight is how often the recording was drawn: its items are taken as often as it is.
    statistics, clusters = data(30, 8)
    scores = mean(slow(statistics, clusters, 200, 5, weigh=lambda times: times[0]))
    expected = np.quantile(scores, [0.05, 0.95])
    np.testing.assert_allclose(interval(statistics, clusters, mean, 0.9, 200, seed=5), expected, rtol=1e-12)


def test_several_recordings_each_weigh_linearly():
    statistics, clusters = data(25, 9, most=4)
    clusters[0] = [*clusters[0], clusters[0][0]]  # twice the same counts once
    scores = mean(slow(statistics, clusters, 200, 3, weigh=lambda times: 1 + sum(time - 1 for time in times)))
    expected = np.quantile(scores, [0.025, 0.975])
    np.testing.assert_allclose(interval(statistics, clusters, mean, resamples=200, seed=3), expected, rtol=1e-12)


def test_a_worked_example():
    # Two recordings: AA, AB, BA or BB is drawn, with a score of 0, 1/2, 1/2 or 1.
    statistics = np.array([[0.0, 1], [1, 1]])
    assert interval(statistics, [["A"], ["B"]], mean, level=0.9) == (0, 1)
    assert interval(statistics, [["A"], ["B"]], mean, level=0.4) == (0.5, 0.5)


def test_items_of_one_recording_are_no_further_evidence():
    statistics, clusters = data(20, 20, seed=1)
    often, names = np.repeat(statistics, 10, axis=0), [few for few in clusters for _ in range(10)]
    np.testing.assert_allclose(interval(often, names, mean), interval(statistics, clusters, mean), rtol=1e-12)
    apart = interval(often, [[str(item)] for item in range(len(often))], mean)
    low, high = interval(often, names, mean)
    assert apart[1] - apart[0] < 0.5 * (high - low)


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    rng = np.random.default_rng(2)
    x = rng.normal(size=2000)
    statistics = np.stack([x, np.ones(2000)], axis=1)
    low, high = interval(statistics, [[str(item)] for item in range(2000)], mean, resamples=4000)
    half = 1.96 * x.std() / math.sqrt(2000)
    assert [low, high] == pytest.approx([x.mean() - half, x.mean() + half], abs=0.1 * half)


def test_blocks_make_no_difference(monkeypatch):
    statistics, clusters = data(40, 11, most=3)
    whole = interval(statistics, clusters, mean, resamples=101)
    monkeypatch.setattr(bootstrap, "COUNTS_AT_ONCE", 77)
    drawn = []
    real = np.bincount
    monkeypatch.setattr(np, "bincount", lambda values, **options: drawn.append(len(values)) or real(values, **options))
    assert interval(statistics, clusters, mean, resamples=101) == whole
    assert max(drawn) == 77
    assert sum(drawn) == 101 * 11


def test_seeds_differ_and_repeat():
    statistics, clusters = data(30, 10)
    assert interval(statistics, clusters, mean, seed=1) == interval(statistics, clusters, mean, seed=1)
    assert interval(statistics, clusters, mean, seed=1) != interval(statistics, clusters, mean, seed=2)


def test_one_recording_says_nothing_of_others():
    statistics, _ = data(5, 1)
    assert np.isnan(interval(statistics, [["only"]] * 5, mean)).all()
    difference, low, high = paired_difference(statistics, statistics + 1, [["only"]] * 5, mean)
    assert difference == mean(statistics.sum(0)) - mean((statistics + 1).sum(0))
    assert math.isnan(low)
    assert math.isnan(high)


def test_undefined_resamples_are_left_out_up_to_a_point():
    # Items without words have no rate. Of 2 recordings one has words: in a quarter of the draws there are none.
    statistics = np.array([[1.0, 2], [0, 0]])
    assert interval(statistics, [["A"], ["B"]], mean, level=0.5) == (0.5, 0.5)
    assert np.isnan(interval(statistics, [["A"], ["B"]], mean, level=0.95)).all()


def test_a_difference_by_the_same_draws():
    a, clusters = data(40, 10, seed=3)
    b = a.copy()
    b[:, 0] += 2 * b[:, 1]  # what is counted for each unit is 2 more in every item, whoever is drawn
    np.testing.assert_allclose(paired_difference(b, a, clusters, mean), (2, 2, 2))
    np.testing.assert_allclose(paired_difference(a, b, clusters, mean), (-2, -2, -2))
    low, high = interval(a, clusters, mean)
    assert high - low > 0.1


def test_a_difference_is_that_of_slow_scores():
    (a, clusters), (b, _) = data(25, 7, seed=4, most=3), data(25, 7, seed=5)
    difference, *ends = paired_difference(a, b, clusters, mean, level=0.8, resamples=150, seed=9)
    one, other = (mean(slow(each, clusters, 150, 9, lambda times: 1 + sum(t - 1 for t in times))) for each in (a, b))
    assert difference == mean(a.sum(0)) - mean(b.sum(0))
    np.testing.assert_allclose(ends, np.quantile(one - other, [0.1, 0.9]), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"statistics": np.zeros((0, 2)), "clusters": []}, "at least one item"),
        ({"statistics": np.ones(3)}, "not .items, k."),
        ({"statistics": np.array([[1.0, math.nan]] * 3)}, "nan or infinity"),
        ({"clusters": [["a"], ["b"]]}, "3 items and the recordings of 2"),
        ({"clusters": [["a"], [], ["b"]]}, "Item 1 has clusters"),
        ({"clusters": ["a", "b", "c"]}, "Item 0 has clusters 'a'"),
        ({"level": 1.0}, "level=1.0"),
        ({"level": 95}, "level=95"),
        ({"resamples": 0}, "resamples=0"),
    ],
)
def test_what_makes_no_interval_is_refused(change, message):
    given = {"statistics": np.ones((3, 2)), "clusters": [["a"], ["b"], ["c"]], "value": mean} | change
    with pytest.raises(ValueError, match=message):
        interval(**given)


def test_a_difference_wants_the_same_items():
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(3, 2\)"):
        paired_difference(np.ones((2, 2)), np.ones((3, 2)), [["a"], ["b"]], mean)
