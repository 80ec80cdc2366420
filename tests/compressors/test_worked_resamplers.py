"""Resamplers on paper: two numbers per token, weights set by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressedAudio, CompressionConfig

ROWS = [[3.0, 1.0], [1.0, 3.0], [5.0, 1.0], [2.0, 4.0], [6.0, 2.0]]
"""A layer norm of two numbers leaves their order: (1, -1) or (-1, 1), but for its epsilon."""


def resampler(method: str, **options: Any) -> Any:
    """With all weights zero but those of the norms, which are one."""
    module = AudioTokenCompressor.from_config(CompressionConfig(method=method, **options), 2)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.fill_(float("norm" in name and name.endswith("weight")))
    return module


def compress(module: Any, rows: list[list[float]]) -> CompressedAudio:
    with torch.no_grad():
        result: CompressedAudio = module(AudioTokens(torch.tensor([rows]), [len(rows)]))  # type: ignore[arg-type]
    return result


def first(result: CompressedAudio) -> list[list[float]]:
    rows: list[list[float]] = result.features[0].tolist()
    return rows


def close(value: float) -> Any:
    return pytest.approx(value, abs=1e-4)


def test_conv_resampler_of_five_to_two() -> None:
    module = resampler("conv_resampler", max_tokens=2, layers=1, kernel_size=3)
    assert first(compress(module, ROWS)) == [
        [close(3), close(5 / 3)],
        [close(4), close(3)],
    ]  # slots 0 0 0 1 1: the means
    with torch.no_grad():
        module.score.weight.copy_(torch.tensor([[math.log(2) / 2, -math.log(2) / 2]]))
    # Tokens whose first number is the larger count four times: the scores are log 2 and -log 2.
    result = first(compress(module, ROWS))
    assert result == [
        [close((4 * 3 + 1 + 4 * 5) / 9), close((4 * 1 + 3 + 4 * 1) / 9)],
        [close((2 + 4 * 6) / 5), close((4 + 4 * 2) / 5)],
    ]


def test_conv_resampler_convolves_over_time() -> None:
    module = resampler("conv_resampler", max_tokens=1, layers=1, kernel_size=3)
    with torch.no_grad():
        module.layers[0].depthwise.weight[0, 0] = torch.tensor([0.0, 0.0, 100.0])  # 100 times the next token's first
        module.layers[0].pointwise.weight[1, 0] = 1.0  # added to the second number
    # Next tokens' first numbers, normed: -1, 1, and nothing behind the end; gelu(100) = 100, gelu(-100) = 0.
    result = first(compress(module, ROWS[:3]))
    assert result == [[close(3), pytest.approx(5 / 3 + 100 / 3, rel=1e-4)]]


def query_resampler_of_one_head(**options: Any) -> Any:
    """What its query finds is the mean of first numbers, normed, and is added to the second number."""
    module = resampler("query_resampler", heads=1, head_dim=1, **options)
    with torch.no_grad():
        module.to_value.weight.copy_(torch.tensor([[1.0, 0.0]]))
        module.attended.weight.copy_(torch.tensor([[0.0], [1.0]]))
        for norm in (module.mean_norm, module.token_norm):
            norm.weight.fill_(1.0)
    return module


def test_query_resampler_of_five_to_two() -> None:
    alone = query_resampler_of_one_head(max_tokens=2, context=0)
    # Slots 0 0 0 1 1, equal scores. First numbers normed: 1, -1, 1, -1, 1.
    assert first(compress(alone, ROWS)) == [[close(3), close(5 / 3 + 1 / 3)], [close(4), close(3 + 0)]]
    around = query_resampler_of_one_head(max_tokens=2, context=1)
    assert first(compress(around, ROWS)) == [[close(3), close(5 / 3 + 1 / 5)], [close(4), close(3 + 1 / 5)]]


def test_query_resampler_asks_by_place() -> None:
    module = query_resampler_of_one_head(max_tokens=2, context=0)
    with torch.no_grad():
        module.place.fill_(200.0)  # the queries are -100 for the first slot, 100 for the second: places -1/2, 1/2
        module.to_key.weight.copy_(torch.tensor([[1.0, 0.0]]))
    # So the first slot finds the least first number, the second one the greatest.
    assert first(compress(module, ROWS)) == [[close(3), close(5 / 3 - 1)], [close(4), close(3 + 1)]]


def test_query_resampler_minds_the_distance() -> None:
    module = query_resampler_of_one_head(max_tokens=2, context=1)
    with torch.no_grad():
        module.distance.copy_(torch.tensor([[1000.0], [0.0]]))  # the later, the better
    assert first(compress(module, ROWS[:4])) == [[close(2), close(2 - 1)], [close(3.5), close(2.5 - 1)]]
    with torch.no_grad():
        # (i + 1/2) * 2 / 4 - 1/2 = -1/4, 1/4, 3/4, 5/4 from the first slot: its own two tokens tie. Of the second,
        # the third and the fourth.
        module.distance.copy_(torch.tensor([[0.0], [-1000.0]]))
    assert first(compress(module, ROWS[:4])) == [[close(2), close(2 + 0)], [close(3.5), close(2.5 + 0)]]


@pytest.mark.parametrize("method", ["conv_resampler", "query_resampler"])
def test_where_slots_are(method: str) -> None:
    result = compress(resampler(method, max_tokens=3), [[1.0, 0.0]] * 7)
    assert result.positions.tolist() == [[1, 3, 5]]  # 7/6, 21/6, 35/6
    assert result.span is not None
    assert result.span.tolist() == [[[0, 3], [3, 5], [5, 7]]]
    times = result.times(25.0)
    assert times is not None
    assert times[0, 1].tolist() == pytest.approx([0.12, 0.2])
