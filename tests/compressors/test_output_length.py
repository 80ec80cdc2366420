"""`output_length`, the one place where a count is computed: by hand, and against exact fractions."""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction
from typing import Any

import pytest

from hf_tokcomp import CompressionConfig, CompressionConfigError, LTBMConfig


def announced(n: int, frame_rate: float = 25.0, **budget: Any) -> int:
    return CompressionConfig(method="stride", **budget).output_length(n, frame_rate)


def test_output_length_by_hand() -> None:
    assert [announced(n, retention_ratio=0.5) for n in range(8)] == [0, 1, 1, 2, 2, 3, 3, 4]  # halves go up
    assert [announced(n, retention_ratio=0.25) for n in range(8)] == [0, 1, 1, 1, 1, 1, 2, 2]
    assert announced(750, retention_ratio=0.1) == 75
    assert announced(750, retention_ratio=1e-9) == 1
    assert announced(750, retention_ratio=1) == 750
    assert [announced(n, tokens_per_second=5) for n in (1, 2, 3, 7, 8, 750)] == [1, 1, 1, 1, 2, 150]
    assert [announced(n, 12.5, tokens_per_second=5) for n in (1, 2, 3, 4, 750)] == [1, 1, 1, 2, 300]
    assert announced(10, tokens_per_second=1e308) == 10
    assert [announced(n, max_tokens=3) for n in range(6)] == [0, 1, 2, 3, 3, 3]
    assert [CompressionConfig(method="none").output_length(n) for n in (0, 1, 750)] == [0, 1, 750]


def test_output_length_equals_exact_fractions() -> None:
    # Ratios of 64ths are exact floats: the count must be the exact fraction's, halves up.
    cases = [(n, Fraction(part, 64)) for n in range(130) for part in range(1, 65)]
    assert any((n * ratio) % 1 == Fraction(1, 2) for n, ratio in cases)
    for n, ratio in cases:
        exact = math.floor(n * ratio + Fraction(1, 2))
        assert announced(n, retention_ratio=float(ratio)) == max(min(n, 1), min(n, exact)), (n, ratio)
    # Other ratios are rounded as floats; that never moves the count further than half a token from the exact one.
    for percent in range(1, 100):
        for n in (7, 50, 333, 750, 15000):
            exact = Fraction(n * percent, 100)
            assert abs(max(exact, 1) - announced(n, retention_ratio=percent / 100)) <= Fraction(1, 2), (n, percent)


def test_output_length_counts_in_python_floats() -> None:
    # 50 * 0.29 is 14.499999999999998 in doubles and 14.5 in float32: a tensor would keep 15.
    assert announced(50, retention_ratio=0.29) == 14


def test_output_length_of_segmentwise_top_k_is_what_it_reaches() -> None:
    def count(n: int, k: int, segments: int) -> int:
        return CompressionConfig(method="segmentwise_top_k", max_tokens=k, segments=segments).output_length(n)

    assert [count(150, k, 10) for k in (1, 9, 10, 15, 19, 20, 149, 150, 200)] == [1, 9, 10, 10, 10, 20, 140, 150, 150]
    for n, k, segments in itertools.product(range(2, 25), range(1, 25), (1, 3, 10, 50)):
        used = min(k, segments)
        assert count(n, k, segments) == (used * (k // used) if k < n else n)


def test_output_length_refuses_nonsense() -> None:
    config = CompressionConfig(method="stride")
    for n, frame_rate in ((-1, 25.0), (5, 0.0), (5, -25.0), (5, math.nan)):
        with pytest.raises(ValueError, match="n >= 0 and frame_rate > 0"):
            config.output_length(n, frame_rate)
        with pytest.raises(ValueError, match="n >= 0 and frame_rate > 0"):
            config.budget_length(n, frame_rate)


def test_output_length_of_a_count_that_follows_the_content_is_refused() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Followed(LTBMConfig):
        deterministic_length = False

    with pytest.raises(CompressionConfigError, match=r"depends on the audio's content.*tokens_after"):
        Followed().output_length(5)


def test_budget_length_is_what_was_asked_for_whatever_is_reached() -> None:
    config = CompressionConfig(method="segmentwise_top_k")  # one in each of ten segments, of 37 at 1/2
    assert (config.budget_length(37), config.output_length(37)) == (19, 10)
    for budget in ({"retention_ratio": 0.3}, {"tokens_per_second": 7}, {"max_tokens": 20}):
        plain = CompressionConfig(method="stride", **budget)
        for n, frame_rate in itertools.product((0, 1, 2, 19, 37, 750), (12.5, 25.0)):
            assert plain.budget_length(n, frame_rate) == plain.output_length(n, frame_rate)


def test_budget_length_without_a_budget() -> None:
    assert CompressionConfig(method="none").budget_length(37) is None
    assert CompressionConfig(method="a_tome", threshold=0.5).budget_length(37) is None
    assert CompressionConfig(method="segmentation").budget_length(37) is None
    # A count that follows the content may be limited by a budget all the same.
    followed = dataclasses.make_dataclass(
        "Followed", [], bases=(LTBMConfig,), namespace={"deterministic_length": False}, frozen=True, kw_only=True
    )
    assert followed(retention_ratio=0.5).budget_length(37) == 19


def test_budget_length_of_a_composition_is_what_its_stages_ask_for_in_turn() -> None:
    def asked(*stages: Any) -> tuple[int | None, int]:
        config = CompressionConfig(method="compose", stages=stages)
        return config.budget_length(37, 25.0), config.output_length(37, 25.0)

    top, half = {"method": "segmentwise_top_k"}, {"method": "stride"}
    assert asked(half, top) == (10, 10)  # 37, 19, 10
    assert asked(top, half) == (10, 5)  # of 10 that are kept only 5 can be left
    assert asked({"method": "none"}, half) == (19, 19)
    seconds = {"method": "stride", "tokens_per_second": 5}
    assert asked(half, seconds) == (7, 7)
    unknown = CompressionConfig(method="compose", stages=(half, {"method": "segmentation"}))
    assert unknown.budget_length(37) is None
