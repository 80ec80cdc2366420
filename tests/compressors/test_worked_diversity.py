"""divprune, cdpruner and sa_map by hand, mostly on directions in the plane."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from worked import compress, kept

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig, CompressionConfigError


def directions(*degrees: float) -> list[list[float]]:
    """Unit vectors in the plane: the smaller the angle between two, the larger their cosine."""
    return [[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees]


AXES = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def test_divprune_starts_where_it_is_loneliest_and_goes_on_far_away() -> None:
    # Nearest neighbours at 10, 10, 20 and 60 degrees: the last token is first. From it the first one is farthest
    # (90 degrees); then 10 and 30 degrees are left of the others.
    features = directions(0, 10, 30, 90)
    assert compress("divprune", features, max_tokens=1) == kept(3)
    assert compress("divprune", features, max_tokens=2) == kept(0, 3)
    assert compress("divprune", features, max_tokens=3) == kept(0, 2, 3)


def test_divprune_goes_by_the_nearest_of_those_chosen() -> None:
    # Neighbours at 20, 20, 25, 25 and 85 degrees: 180 is first, then 0. To the nearer of these two, 20 has 20 degrees,
    # 70 has 70, 95 has 85. With 95 chosen as well, 20 has 20 and 70 has 25, though to 95 alone 20 has 75.
    features = directions(0, 20, 70, 95, 180)
    assert compress("divprune", features, max_tokens=2) == kept(0, 4)
    assert compress("divprune", features, max_tokens=3) == kept(0, 3, 4)
    assert compress("divprune", features, max_tokens=4) == kept(0, 2, 3, 4)


def test_divprune_gives_ties_to_the_earlier() -> None:
    assert compress("divprune", [[1.0, 2.0]] * 5, max_tokens=3) == kept(0, 1, 2)
    # Silence is at distance 1 from everything: the first zero, then by ties.
    silence = [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    assert compress("divprune", silence, max_tokens=1) == kept(2)
    assert compress("divprune", silence, max_tokens=2) == kept(0, 2)
    assert compress("divprune", silence, max_tokens=3) == kept(0, 2, 3)


@pytest.mark.parametrize("space", ["keys", "projected"])
def test_divprune_compares_what_it_is_told(space: str) -> None:
    fields = {space: directions(0, 10, 30, 90)}
    assert compress("divprune", 4, fields=fields, max_tokens=2, similarity=space) == kept(0, 3)
    assert compress("divprune", directions(90, 30, 10, 0), fields=fields, max_tokens=1) == kept(0)


def test_cdpruner_looks_for_right_angles_where_divprune_looks_for_opposites() -> None:
    # The first of equals, then the largest sin²: 0.25, 0.97, 0.03. Opposite directions span nothing new.
    assert compress("cdpruner", directions(0, 30, 80, 170), max_tokens=2) == kept(0, 2)
    assert compress("cdpruner", directions(0, 90, 180), max_tokens=2) == kept(0, 1)
    assert compress("divprune", directions(0, 90, 180), max_tokens=2) == kept(0, 2)


def test_cdpruner_fills_up_once_the_plane_is_spanned() -> None:
    # Two directions span the plane; with r = 1 the earliest of the others follow.
    assert compress("cdpruner", directions(0, 30, 80, 170), max_tokens=3) == kept(0, 1, 2)
    assert compress("cdpruner", [[1.0, 2.0]] * 5, max_tokens=3) == kept(0, 1, 2)
    # Zero vectors have no length to add: they come last.
    assert compress("cdpruner", [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 2.0]], max_tokens=3) == kept(0, 2, 3)


def test_cdpruner_third_token_is_measured_against_the_plane_of_two() -> None:
    # After the first two axes: (1, 1, 1) has a third of its square left, (1, 0, 2) has 0.8.
    features = [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]
    assert compress("cdpruner", features, max_tokens=2) == kept(0, 3)
    assert compress("cdpruner", features, max_tokens=3) == kept(0, 2, 3)


def test_cdpruner_weighs_by_attention() -> None:
    # r = 0.5, 1, 0, 0.75 and a little: first 1. Then 0.25 * sin²(90) against 0.5625 * sin²(70) = 0.497: token 3.
    # The plane is spanned, so the largest r is next: token 0.
    features, attention = directions(0, 90, 45, 20), [2.0, 3.0, 1.0, 2.5]
    assert compress("cdpruner", features, attention, max_tokens=2) == kept(0, 1)
    assert compress("cdpruner", features, attention, max_tokens=1, relevance="attention") == kept(1)
    assert compress("cdpruner", features, attention, max_tokens=2, relevance="attention") == kept(1, 3)
    assert compress("cdpruner", features, attention, max_tokens=3, relevance="attention") == kept(0, 1, 3)
    assert compress("cdpruner", features, [7.0] * 4, max_tokens=2, relevance="attention") == kept(0, 1)


def test_cdpruner_makes_little_of_little_differences() -> None:
    # One step of float32 apart, 1.2e-7: with the 1e-6 added r is 9.4, 8.4, 8.4, so the right angle decides.
    features = directions(0, 1, 90)
    assert compress("cdpruner", features, [1 + 2.0**-23, 1, 1], max_tokens=2, relevance="attention") == kept(0, 2)
    # 1 apart: r is 1 and twice 1e-6, of which the right angle decides again. Then the plane is spanned.
    assert compress("cdpruner", features, [2.0, 1.0, 1.0], max_tokens=2, relevance="attention") == kept(0, 2)


def test_cdpruner_prefers_what_is_like_the_question() -> None:
    def chosen(k: int, *words: list[float], **fields: Any) -> list[tuple[list[int], int]]:
        fields |= {"query": list(words), "projected": directions(0, 60, 90)}
        return compress("cdpruner", AXES, fields=fields, max_tokens=k, relevance="query")

    # Cosines 1, 0.5, 0 with one word, and with two the means 0.5, 0.68, 0.5: a word's length does not count.
    assert chosen(1, [1.0, 0.0]) == kept(0)
    assert chosen(2, [1.0, 0.0]) == kept(0, 1)
    assert chosen(1, [0.0, 1.0]) == kept(2)
    assert chosen(1, [100.0, 0.0], [0.0, 1.0]) == kept(1)
    assert chosen(2, [100.0, 0.0], [0.0, 1.0]) == kept(0, 1)
    # No question, only padding: r = 1.
    assert chosen(1, [0.0, 1.0], query_lengths=0) == kept(0)


def sa_map(
    features: list[list[float]], itself: list[float] | None = None, peak: list[float] | None = None, **options: Any
) -> list[tuple[list[int], int]]:
    ones = [1.0] * len(features)
    fields = {"attention_self": itself or ones, "attention_peak": peak or ones}
    return compress("sa_map", features, fields=fields, **options)


def test_sa_map_merges_runs_and_keeps_the_one_that_attends_to_itself() -> None:
    # 0.85 is 31.8 degrees. 10 and 20 join 0; 90 has a mean cosine of 0.17 with the three; 95 joins 90.
    features, itself = directions(0, 10, 20, 90, 95), [0.1, 0.2, 0.3, 0.4, 0.1]
    assert sa_map(features, itself, max_tokens=2) == [([0, 1, 2], 1), ([3, 4], 3)]
    # The means are 0.2 and 0.25 (the sums 0.6 and 0.5): the second group is kept, the first one dropped.
    assert sa_map(features, itself, max_tokens=1) == [([3, 4], 3)]
    # 0.99 is 8 degrees: r = 0.1, 0.2, 0.3 and 0.25, and the last two are nearly at right angles.
    assert sa_map(features, itself, max_tokens=2, threshold=0.99) == [([2], 2), ([3, 4], 3)]


def test_sa_map_asks_for_the_mean_cosine_with_all_members() -> None:
    # 60 degrees: 0.87 with the last member, but 0.68 with both.
    assert sa_map(directions(0, 30, 60), max_tokens=2, threshold=0.8) == [([0, 1], 0), ([2], 2)]
    # And 0.72 where the cosine with the members' mean, at 20 degrees, is 0.77.
    assert sa_map(directions(0, 40, 60), max_tokens=2, threshold=0.75) == [([0, 1], 0), ([2], 2)]
    assert sa_map(directions(0, 40, 60), max_tokens=1, threshold=0.71) == [([0, 1, 2], 1)]


def test_sa_map_joins_at_the_threshold_itself() -> None:
    # The cosine of (1, 0) and (3, 4) is 0.6. Equal tokens join at 1.
    assert sa_map([[1.0, 0.0], [3.0, 4.0], [-1.0, 0.0]], max_tokens=2, threshold=0.6) == [([0, 1], 0), ([2], 2)]
    assert sa_map([[3.0, 1.0]] * 2 + [[-1.0, 3.0]], max_tokens=2, threshold=1.0) == [([0, 1], 0), ([2], 2)]


def test_sa_map_cuts_the_weakest_joins_where_groups_are_missing() -> None:
    # All in one group, joined at 0.9962, 0.9754 and 0.9747: the last one is cut, then the one before.
    # (To their left neighbours they have 5, 10 and 3 degrees.)
    features = directions(0, 5, 15, 18)
    assert sa_map(features, max_tokens=2) == [([0, 1, 2], 1), ([3], 3)]
    assert sa_map(features, max_tokens=3) == [([0, 1], 0), ([2], 2), ([3], 3)]
    # Ties: the earlier joins are cut first.
    assert sa_map([[1.0, 2.0]] * 4, max_tokens=2) == [([0], 0), ([1, 2, 3], 2)]
    assert sa_map([[1.0, 2.0]] * 4, max_tokens=3) == [([0], 0), ([1], 1), ([2, 3], 2)]
    alike = sa_map([[0.3, 0.3, 0.1, 0.77, 2.1, 3.3]] * 30, max_tokens=20)  # where sums of cosines round
    assert alike == [*kept(*range(19)), (list(range(19, 30)), 24)]


def test_sa_map_keeps_groups_unlike_each_other() -> None:
    # r = 1, 0.5, 0.9. After the first: 0.25 against 0.81 * sin²(5) = 0.006.
    assert sa_map(directions(0, 90, 5), [1.0, 0.5, 0.9], max_tokens=2) == kept(0, 1)
    # Silence joins nothing and spans nothing: the largest r.
    assert sa_map([[0.0, 0.0]] * 4, [0.1, 0.5, 0.2, 0.4], max_tokens=2) == kept(1, 3)
    # Gains are small against the first gain, not against the r of a silent token, which has none.
    features = [[0.0, 0.0], *directions(0, 45, 90)]
    assert sa_map(features, [1.0, 1e-4, 6e-5, 5e-5], max_tokens=2) == kept(1, 3)


@pytest.mark.parametrize(
    ("peak", "wanted"),
    [
        ([1.0, 3.0], [2.5, 3.0]),
        ([0.0, 2.0], [3.0, 4.0]),
        ([0.0, 0.0], [2.0, 2.0]),
        ([math.nan, 3.0], [2.0, 2.0]),
        ([math.inf, 3.0], [2.0, 2.0]),
        ([1e38, 3e38], [2.5, 3.0]),  # the sum is no float32
        ([-2.0, 3.0], [3.0, 4.0]),  # no attention is negative
    ],
)
def test_sa_map_averages_by_attention(peak: list[float], wanted: list[float]) -> None:
    # (1, 0) and (3, 4) join at 0.6; the third token is alone and attends less to itself.
    tokens = AudioTokens(
        torch.tensor([[[1.0, 0.0], [3.0, 4.0], [-1.0, 0.0]]]),
        [3],  # type: ignore[arg-type]
        attention_peak=torch.tensor([[*peak, 1.0]]),
        attention_self=torch.tensor([[1.0, 1.0, 0.1]]),
    )
    module = AudioTokenCompressor.from_config(CompressionConfig(method="sa_map", max_tokens=1, threshold=0.5))
    assert module(tokens).features.tolist() == [[wanted]]


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        ("divprune", "similarity", "query"),
        ("cdpruner", "similarity", None),
        ("cdpruner", "relevance", "keys"),
        ("sa_map", "threshold", 1.01),
        ("sa_map", "threshold", -1),
        ("sa_map", "threshold", "0.85"),
    ],
)
def test_options_are_checked(method: str, option: str, value: Any) -> None:
    with pytest.raises(CompressionConfigError, match=f"{option}={value!r} must be"):
        CompressionConfig(method=method, **{option: value})
