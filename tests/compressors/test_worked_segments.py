"""segmentation by hand: boundaries where neighbours differ most, on vectors in the plane."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from drawn import batch, draw
from worked import compress

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig, CompressionConfigError

Slots = list[tuple[list[int], int]]


def turning(*degrees: float) -> list[list[float]]:
    """Unit vectors in the plane, each turned against the last by so much: larger turns are larger distances."""
    angles = [sum(degrees[:i]) for i in range(len(degrees) + 1)]
    return [[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles]


def runs(*sizes: int) -> Slots:
    """Segments of these sizes, with the floor of their members' mean index."""
    start, slots = 0, []
    for size in sizes:
        slots.append((list(range(start, start + size)), start + (size - 1) // 2))
        start += size
    return slots


#           t:  0   1   2   3   4   5   6   7   8
FOUR = turning(10, 60, 20, 40, 20, 80, 10, 30, 20)
"""Ten tokens. Peaks are t = 1, 3, 5 and 7: boundaries behind the tokens 1, 3, 5 and 7."""


def test_segmentation_follows_the_content_without_a_budget() -> None:
    assert compress("segmentation", FOUR) == runs(2, 2, 2, 2, 2)
    # Neither end is a peak, however far it stands out, nor is a plateau.
    assert compress("segmentation", turning(90, 10, 20, 10, 90)) == runs(3, 3)
    assert compress("segmentation", turning(10, 50, 50, 10, 20, 10)) == runs(5, 2)
    assert compress("segmentation", turning(30, 30, 30)) == runs(4)
    for few in (2, 3):
        assert compress("segmentation", turning(*[40] * (few - 1))) == runs(few)
    assert compress("segmentation", [[0.0, 0.0]] * 5) == runs(5)


def test_segmentation_takes_the_most_prominent_boundaries() -> None:
    # In degrees: 5 (80) stands over the 10s at the far left and at 6; 1 (60) over the 20 at its right; 3 (40) and
    # 7 (30) over a 20, too. So 5, 1, 3, 7.
    assert compress("segmentation", FOUR, max_tokens=1) == runs(10)
    assert compress("segmentation", FOUR, max_tokens=2) == runs(6, 4)
    assert compress("segmentation", FOUR, max_tokens=3) == runs(2, 4, 4)
    assert compress("segmentation", FOUR, max_tokens=4) == runs(2, 2, 2, 4)
    assert compress("segmentation", FOUR, max_tokens=5) == runs(2, 2, 2, 2, 2)


def test_segmentation_prefers_prominence_to_height() -> None:
    # The peak of 85 stands 5 degrees above its saddle to the 90; the lower one of 50 falls to 10 on both sides.
    features = turning(10, 90, 80, 85, 10, 50, 10)
    assert compress("segmentation", features, max_tokens=3) == runs(2, 4, 2)
    assert compress("segmentation", features, max_tokens=4) == runs(2, 2, 2, 2)


def test_segmentation_gives_ties_to_the_earlier() -> None:
    assert compress("segmentation", turning(10, 50, 10, 50, 10, 50, 10), max_tokens=3) == runs(2, 2, 4)


def test_segmentation_halves_the_longest_where_peaks_are_too_few() -> None:
    # No peak at all: 11 = 6 + 5 = 3 + 3 + 5 = 3 + 3 + 3 + 2 = 2 + 1 + 3 + 3 + 2.
    smooth = turning(*[30] * 10)
    halved = [runs(11), runs(6, 5), runs(3, 3, 5), runs(3, 3, 3, 2), runs(2, 1, 3, 3, 2), runs(2, 1, 2, 1, 3, 2)]
    assert [compress("segmentation", smooth, max_tokens=k) for k in range(1, 7)] == halved
    # One peak, behind token 1: 2 + 6, then the longer is halved.
    assert compress("segmentation", turning(10, 60, *[10] * 5), max_tokens=3) == runs(2, 3, 3)
    assert compress("segmentation", turning(40), max_tokens=1) == runs(2)


def test_segmentation_with_a_shortest_segment() -> None:
    # 3 tokens: by prominence 5 comes first; 1 would leave 2 tokens at the start, 3 and 7 are 2 tokens from 5.
    assert compress("segmentation", FOUR, min_duration=0.12) == runs(6, 4)
    assert compress("segmentation", FOUR, min_duration=0.08) == runs(2, 2, 2, 2, 2)
    assert compress("segmentation", FOUR, min_duration=0.17) == runs(10)
    assert compress("segmentation", FOUR, min_duration=1e9) == runs(10)
    # Peaks 50, 60 and 70, each 2 tokens from the next: 70 drives out 60, so nothing drives out 50.
    features = turning(10, 10, 10, 50, 10, 60, 10, 70, 10, 10, 10)
    assert compress("segmentation", features, min_duration=0.12) == runs(4, 4, 4)


def test_segmentation_with_a_longest_segment() -> None:
    # 6 + 4 of 4 tokens at most; and 11 in three parts, the longer ones first.
    features = turning(10, 10, 10, 10, 10, 60, 10, 10, 10)
    assert compress("segmentation", features) == runs(6, 4)
    assert compress("segmentation", features, max_duration=0.16) == runs(3, 3, 4)
    assert compress("segmentation", turning(*[30] * 10), max_duration=0.19) == runs(4, 4, 3)
    assert compress("segmentation", turning(*[30] * 10), max_duration=0.001) == runs(*[1] * 11)
    # Both: the shortest first, the longest then has its way.
    assert compress("segmentation", FOUR, min_duration=0.16, max_duration=0.16) == runs(3, 3, 4)


def test_segmentation_averages() -> None:
    module = AudioTokenCompressor.from_config(CompressionConfig(method="segmentation"))
    features = torch.tensor([[[2.0, 0.0], [4.0, 0.0], [0.0, 3.0], [0.0, 5.0]]])
    assert module(AudioTokens(features, [4])).features.tolist() == [[[3.0, 0.0], [0.0, 4.0]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_duration": 0}, "min_duration=0 must be a finite number > 0"),
        ({"max_duration": math.nan}, "max_duration=nan must be a finite number"),
        ({"min_duration": 0.5, "max_duration": 0.4}, "min_duration=0.5 must be at most max_duration=0.4"),
        ({"min_duration": 0.5, "max_tokens": 4}, "leave out max_tokens or min_duration"),
        ({"min_duration": 1, "max_duration": 2, "retention_ratio": 0.5}, "retention_ratio or min_duration and max_dur"),
        ({"chunk_seconds": 1.0}, "cannot work in chunks"),
    ],
)
def test_segmentation_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CompressionConfigError, match=message):
        CompressionConfig(method="segmentation", **options)


def test_segmentation_announces_a_count_with_a_budget_alone() -> None:
    assert CompressionConfig(method="segmentation", tokens_per_second=5).output_length(100, 25.0) == 20
    assert CompressionConfig(method="segmentation", max_tokens=5, chunk_seconds=1.0).output_length(100) == 5
    with pytest.raises(CompressionConfigError, match="depends on the audio's content"):
        CompressionConfig(method="segmentation").output_length(100)


def test_segmentation_counts_are_those_of_the_content() -> None:
    module = AudioTokenCompressor.from_config(CompressionConfig(method="segmentation"))
    result = module(batch([draw(np.random.default_rng(0), n) for n in (40, 1, 0, 13)]))
    assert result.assignment is not None
    assert (
        result.counts
        == result.assignment.lengths.tolist()
        == [len(set(row[row >= 0].tolist())) for row in result.assignment.slot]
    )
    assert result.counts[1:3] == [1, 0]
    assert 5 < result.counts[0] < 20
