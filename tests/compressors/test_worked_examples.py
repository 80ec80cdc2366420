"""One example by hand, or more, for every method: small enough to check on paper."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from drawn import METHODS
from worked import compress, kept

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig


def test_every_method_has_an_example() -> None:
    written = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_worked_*.py"))
    missing = [m for m in METHODS if not re.search(rf"^def test_(\w+_and_)?{m}_", written, re.MULTILINE)]
    assert not missing, f"write test_{missing[0]}... in tests/test_worked_*.py"


def test_none_keeps_all() -> None:
    assert compress("none", 4) == kept(0, 1, 2, 3)


def test_average_pooling_of_seven_to_three() -> None:
    # i * 3 // 7 for i = 0..6: 0 0 0 1 1 2 2. Mean indices 1, 3.5 and 5.5, rounded down.
    assert compress("average_pooling", 7, max_tokens=3) == [([0, 1, 2], 1), ([3, 4], 3), ([5, 6], 5)]


def test_average_pooling_is_pooling_by_two_or_three_where_it_divides() -> None:
    assert compress("average_pooling", 6, max_tokens=3) == [([0, 1], 0), ([2, 3], 2), ([4, 5], 4)]
    assert compress("average_pooling", 6, max_tokens=2) == [([0, 1, 2], 1), ([3, 4, 5], 4)]


def test_average_pooling_averages() -> None:
    module = AudioTokenCompressor.from_config(CompressionConfig(method="average_pooling", max_tokens=3))
    features = torch.tensor([[[0.0], [1.0], [5.0], [3.0], [4.0], [-2.0], [6.0]]])
    assert module(AudioTokens(features, [7])).features.tolist() == [[[2.0], [3.5], [2.0]]]


@pytest.mark.parametrize("n", [5, 6, 7, 8, 149, 150])
def test_stride_at_half_is_every_second_token(n: int) -> None:
    assert compress("stride", n, max_tokens=(n + 1) // 2) == kept(*range(0, n, 2))


def test_stride_of_seven_to_three() -> None:
    # ceil(0), ceil(7/3), ceil(14/3): the first of each slot of average_pooling above.
    assert compress("stride", 7, max_tokens=3) == kept(0, 3, 5)


def test_random_draw_is_the_recorded_one() -> None:
    # Not on paper: recorded once. A seed in a paper's appendix must mean the same tokens in the next version.
    assert compress("random", 10, max_tokens=4) == kept(1, 2, 4, 9)
    assert compress("random", 10, max_tokens=4, seed=1) == kept(0, 2, 3, 6)


def test_random_draws_are_uniform() -> None:
    # 2 of 5 tokens, 2000 seeds: each is kept 800 times, give or take four standard deviations of 22.
    counts = [0] * 5
    for seed in range(2000):
        for members, _ in compress("random", 5, max_tokens=2, seed=seed):
            counts[members[0]] += 1
    assert sum(counts) == 4000
    assert all(abs(count - 800) < 88 for count in counts), counts


def test_top_k_gives_ties_to_the_earlier() -> None:
    attention = [1.0, 3.0, 2.0, 3.0, 3.0]
    assert compress("top_k", 5, attention, max_tokens=2) == kept(1, 3)
    assert compress("top_k", 5, attention, max_tokens=4) == kept(1, 2, 3, 4)
    assert compress("top_k", 5, [1.0] * 5, max_tokens=3) == kept(0, 1, 2)


def test_bottom_k_gives_ties_to_the_earlier() -> None:
    attention = [1.0, 3.0, 2.0, 1.0, 1.0]
    assert compress("bottom_k", 5, attention, max_tokens=2) == kept(0, 3)
    assert compress("bottom_k", 5, attention, max_tokens=4) == kept(0, 2, 3, 4)


def test_top_k_and_bottom_k_put_scores_that_are_no_number_last() -> None:
    attention = [math.nan, 1.0, 2.0, math.nan, 3.0]
    assert compress("top_k", 5, attention, max_tokens=2) == kept(2, 4)
    assert compress("bottom_k", 5, attention, max_tokens=2) == kept(1, 2)
    assert compress("top_k", 5, attention, max_tokens=4) == compress("bottom_k", 5, attention, max_tokens=4)
    assert compress("top_k", 5, attention, max_tokens=4) == kept(0, 1, 2, 4)


def test_segmentwise_top_k_keeps_10_of_15_at_6_seconds_and_10_percent() -> None:
    # 150 tokens, K = 15, ten segments of 15 tokens, floor(15 / 10) = 1 of each: the most attended, here the 5th.
    attention = [1.0] * 150
    for segment in range(10):
        attention[15 * segment + 4] = 2.0 + segment
    wanted = kept(*range(4, 150, 15))
    assert len(wanted) == 10
    assert compress("segmentwise_top_k", 150, attention, retention_ratio=0.1) == wanted
    assert CompressionConfig(method="segmentwise_top_k", retention_ratio=0.1).output_length(150) == 10


def test_segmentwise_top_k_of_unequal_segments() -> None:
    # i * 2 // 7: tokens 0-3 and 4-6. floor(5 / 2) = 2 of each, though the four largest are all in the first.
    attention = [7.0, 6.0, 5.0, 8.0, 1.0, 3.0, 2.0]
    assert compress("segmentwise_top_k", 7, attention, max_tokens=5, segments=2) == kept(0, 3, 5, 6)
    assert compress("segmentwise_top_k", 7, attention, max_tokens=5, segments=1) == kept(0, 1, 2, 3, 5)  # top_k
    # K below S: three segments, 0-2, 3-4 and 5-6, one of each.
    assert compress("segmentwise_top_k", 7, attention, max_tokens=3) == kept(0, 3, 5)
