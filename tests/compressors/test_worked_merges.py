"""Bipartite merging by hand: ltbm and global_merge on vectors in the plane."""

from __future__ import annotations

import math

import pytest
import torch
from drawn import in_time  # noqa: F401 - a fixture
from worked import compress

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig


def directions(*degrees: float) -> list[list[float]]:
    """Unit vectors in the plane: the smaller the angle between two, the larger their cosine."""
    return [[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees]


def test_ltbm_stays_in_its_window_where_global_merge_does_not() -> None:
    # A = 0, 2, 4 and B = 1, 3, 5. The most alike are 0 and 5 (5 degrees), which are far apart.
    # Next to each other: 0-1 40, 2-1 50, 2-3 30, 4-3 50, 4-5 165 degrees; 2 joins 3 and stands where 3 stood.
    features = directions(0, 40, 90, 120, 170, 5)
    near = [([0], 0), ([1], 1), ([2, 3], 3), ([4], 4), ([5], 5)]
    assert compress("ltbm", features, max_tokens=5, window=1) == near
    assert compress("ltbm", features, max_tokens=5, window=4) == near
    far = [([1], 1), ([2], 2), ([3], 3), ([4], 4), ([0, 5], 5)]
    assert compress("ltbm", features, max_tokens=5, window=5) == far
    assert compress("global_merge", features, max_tokens=5) == far


@pytest.mark.parametrize("method", ["ltbm", "global_merge"])
def test_ltbm_and_global_merge_let_several_join_one(method: str) -> None:
    # 0 and 2 are 1 degree from 1; 4 is 60 from 3. The two best edges both end in 1.
    features = directions(0, 1, 2, 90, 150)
    assert compress(method, features, max_tokens=3) == [([0, 1, 2], 1), ([3], 3), ([4], 4)]


@pytest.mark.parametrize("method", ["ltbm", "global_merge"])
def test_ltbm_and_global_merge_give_ties_to_the_earlier(method: str) -> None:
    # All alike: every a prefers 1, and of the edges 0-1, 2-1, 4-1 the first two merge.
    assert compress(method, [[1.0, 2.0]] * 6, max_tokens=4) == [([0, 1, 2], 1), ([3], 3), ([4], 4), ([5], 5)]
    # Silence has cosine 0 with all: the same.
    assert compress(method, [[0.0, 0.0]] * 6, max_tokens=4) == [([0, 1, 2], 1), ([3], 3), ([4], 4), ([5], 5)]


def test_ltbm_gives_ties_to_the_earlier_within_the_window() -> None:
    # All alike, window 1: 2 reaches 1 and 3, 4 reaches 3 and 5; each takes the earlier, and 4 does not merge.
    assert compress("ltbm", [[1.0]] * 6, max_tokens=4, window=1) == [([0, 1, 2], 1), ([3], 3), ([4], 4), ([5], 5)]
    assert compress("ltbm", [[1.0]] * 6, max_tokens=3, window=1) == [([0, 1, 2], 1), ([3, 4], 3), ([5], 5)]


def test_ltbm_window_doubles_when_nothing_is_near() -> None:
    # Round 1: four equal pairs merge and stand at 1, 3, 5 and 7, all further apart than 1. The window becomes 2.
    # A = 1 (0 degrees), 5 (70); B = 3 (40), 7 (2). Within 2: 1-3 40 degrees, 5-3 30, 5-7 68. So 5 joins 3,
    # and not 1 the token at 7, which would be the most alike of all (2 degrees).
    features = directions(0, 0, 40, 40, 70, 70, 2, 2)
    assert compress("ltbm", features, max_tokens=3, window=1) == [([0, 1], 1), ([2, 3, 4, 5], 3), ([6, 7], 7)]
    # So it is with a window of 2 at once; 8 reaches everything, and 1 joins 7.
    assert compress("ltbm", features, max_tokens=3, window=2) == [([0, 1], 1), ([2, 3, 4, 5], 3), ([6, 7], 7)]
    assert compress("ltbm", features, max_tokens=3) == [([2, 3], 3), ([4, 5], 5), ([0, 1, 6, 7], 7)]
    assert compress("global_merge", features, max_tokens=3) == [([2, 3], 3), ([4, 5], 5), ([0, 1, 6, 7], 7)]


@pytest.mark.parametrize("method", ["ltbm", "global_merge"])
def test_ltbm_and_global_merge_compare_size_weighted_means(method: str) -> None:
    # Round 1, four of 0 degrees: 0 and 2 join 1, 4 joins 5, 6 joins 7.
    # Left: 1 (0 degrees), 3 (60), 5 (-40), 7 (-102), 8 (-110).
    # Round 2, two: 8 joins 7 (8 degrees; the mean is at -104.7), and 1 joins 3 (60, against 62 for 5 and 7).
    # Three tokens at 0 and one at 60 have their mean at 13.9 degrees (unweighted it would be 30).
    # Round 3, one: 3 is 53.9 degrees from 5 and joins it, 7 is 64.7 (unweighted: 70 and 66, and 7 would join).
    features = directions(0, 0, 0, 60, -40, -40, -102, -102, -110)
    assert compress(method, features, max_tokens=2) == [([0, 1, 2, 3, 4, 5], 5), ([6, 7, 8], 7)]


def test_ltbm_merged_token_is_the_mean_over_members() -> None:
    # Two rounds: (0, 2) join 1, then 1 joins 3: a quarter each, not half for the last to come.
    module = AudioTokenCompressor.from_config(CompressionConfig(method="ltbm", max_tokens=1))
    features = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [2.0, 4.0]]])
    assert module(AudioTokens(features, [4])).features.tolist() == [[[2.0, 1.0]]]
