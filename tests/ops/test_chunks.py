"""Working in chunks: where they lie, how they share a budget by length or by content, and what a config refuses."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from oracles import shares
from worked import compress, kept

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig, CompressionConfigError, patch
from hf_tokcomp.ops.chunks import chunk_bounds, novelty, share_out


def test_chunks_are_as_few_and_as_equal_as_possible() -> None:
    assert chunk_bounds(100, 50, 25.0) == [0, 25, 50, 75, 100]
    assert chunk_bounds(101, 50, 25.0) == [0, 21, 41, 61, 81, 101]
    assert chunk_bounds(10, 2, 3.0) == [0, 5, 10]  # no more chunks than tokens to keep
    assert chunk_bounds(7, 7, 100.0) == [0, 7]
    assert chunk_bounds(3, 3, 0.001) == [0, 1, 2, 3]
    assert chunk_bounds(0, 0, 25.0) == [0, 0]


def test_shares_by_hand() -> None:
    assert share_out(6, [1, 1, 1], [5, 5, 5]) == [2, 2, 2]
    assert share_out(7, [1, 1, 1], [5, 5, 5]) == [3, 2, 2]  # ties to the earlier
    assert share_out(10, [3, 1, 0], [9, 9, 9]) == [7, 2, 1]  # at least one; 9 by 3 : 1 are 6.75 and 2.25
    assert share_out(10, [8, 1, 1], [4, 9, 9]) == [4, 3, 3]  # no more than there are
    assert share_out(4, [0, 0, 0], [9, 9, 9]) == [2, 1, 1]
    assert share_out(3, [9, 1, 1], [5, 5, 5]) == [1, 1, 1]
    assert share_out(15, [9, 1, 1], [5, 5, 5]) == [5, 5, 5]
    assert share_out(6, [math.nan, math.inf, 1e300], [5, 5, 5]) == [1, 1, 4]


def test_shares_equal_exact_fractions() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        size = int(rng.integers(1, 12))
        most = [int(m) for m in rng.integers(1, 15, size=size)]
        weights = [int(w) for w in rng.integers(0, 20, size=size)]
        total = int(rng.integers(size, sum(most) + 1))
        given = share_out(total, [w / 7 for w in weights], most)
        assert sum(given) == total
        assert all(1 <= g <= m for g, m in zip(given, most, strict=True))
        assert given == shares(total, [Fraction(w) for w in weights], most), (total, weights, most)


def axes(*numbers: int) -> list[list[float]]:
    """Unit vectors along axes: equal ones have cosine 1, others 0."""
    return [[float(i == number) for i in range(8)] for number in numbers]


def test_silence_and_repetition_get_fewer_tokens() -> None:
    # Three chunks of four: all different (3 links, and 4 with the one from the chunk before), all alike, two changes.
    features = axes(0, 1, 2, 3, 4, 4, 4, 4, 4, 5, 5, 6)
    tokens = AudioTokens(torch.tensor([features]), torch.tensor([12]))
    assert novelty(tokens, [[0, 4, 8, 12]]) == [[3.0, 1.0, 2.0]]
    even = {"chunk_seconds": 0.16, "max_tokens": 6}
    assert compress("stride", features, **even) == kept(0, 2, 4, 6, 8, 10)
    assert compress("stride", features, **even, allocation="content") == kept(0, 2, 3, 4, 8, 10)
    # Digital silence is no news, although zero vectors have cosine 0: 0 and 1 link, the step out of the silence.
    silent = [[0.0] * 8] * 6 + axes(1, 2, 3, 4, 5, 6)
    tokens = AudioTokens(torch.tensor([silent]), torch.tensor([12]))
    assert novelty(tokens, [[0, 6, 12]]) == [[0.0, 6.0]]


def test_merging_stays_inside_a_chunk() -> None:
    # A and B alternate: 0 and 5 are alike, 1 and 4, 2 and 3. Two chunks of three: only unlike tokens are left to merge.
    features = axes(0, 1, 2, 2, 1, 0)
    assert compress("global_merge", features, max_tokens=3) == [([1, 4], 1), ([2, 3], 3), ([0, 5], 5)]
    assert compress("global_merge", features, max_tokens=4, chunk_seconds=0.12) == [
        ([0, 1], 1),
        ([2], 2),
        ([3, 4], 4),
        ([5], 5),
    ]


@pytest.mark.parametrize("ratio", [0.5, 0.1, 0.03])
def test_sound_gets_more_than_silence_at_every_ratio(ratio: float) -> None:
    # 24 s of silence, 6 s of noise, from 18 s on. The finest chunks hold two tokens to keep, on average.
    noise = torch.randn(150, 8, generator=torch.Generator().manual_seed(0))
    features = torch.zeros(1, 750, 8)
    features[0, 450:600] = noise
    tokens = AudioTokens(features, torch.tensor([750]), frame_rate=25.0)
    config = CompressionConfig(method="average_pooling", retention_ratio=ratio, allocation="content")
    places = AudioTokenCompressor.from_config(config).assign(tokens).position[0]
    assert len(places) == config.output_length(750)
    sound = int(((places >= 450) & (places < 600)).sum())
    assert sound >= 2 * 0.2 * len(places), (sound, len(places))  # twice its share of the time


@pytest.mark.parametrize("allocation", ["even", "content"])
def test_one_long_chunk_is_the_whole_audio(allocation: Any) -> None:
    features = torch.randn(2, 60, 8, generator=torch.Generator().manual_seed(0))
    tokens = AudioTokens(features, torch.tensor([60, 33]), frame_rate=25.0)
    for method in ("ltbm", "average_pooling", "stride"):
        whole = AudioTokenCompressor.from_config(CompressionConfig(method=method, retention_ratio=0.3))(tokens)
        config = CompressionConfig(method=method, retention_ratio=0.3, chunk_seconds=60, allocation=allocation)
        chunked = AudioTokenCompressor.from_config(config)(tokens)
        assert whole.counts == chunked.counts
        assert torch.equal(whole.positions, chunked.positions)
        torch.testing.assert_close(whole.features, chunked.features)


def test_the_total_is_the_budget_whatever_the_chunks() -> None:
    tokens = AudioTokens(torch.randn(1, 200, 8), torch.tensor([200]), frame_rate=25.0)
    for seconds in (0.04, 0.3, 1, 2.5, 100):
        for allocation in ("even", "content"):
            for k in (1, 7, 50, 199):
                config = CompressionConfig(method="stride", max_tokens=k, chunk_seconds=seconds, allocation=allocation)
                assert config.output_length(200) == k
                assert AudioTokenCompressor.from_config(config)(tokens).counts == [k]


def test_config_of_chunks() -> None:
    plain = CompressionConfig(method="ltbm")
    assert "chunk_seconds" not in plain.to_dict()
    assert "allocation" not in plain.to_dict()
    by_content = CompressionConfig(method="ltbm", allocation="content")
    assert (by_content.chunk_seconds, by_content.chunk_length) == (None, 0.4)
    assert by_content.replace(allocation="even") == plain
    assert CompressionConfig.from_dict(by_content.to_dict()) == by_content != plain
    for values, message in (
        ({"method": "ltbm", "chunk_seconds": 0}, "chunk_seconds=0 must be a finite number > 0"),
        ({"method": "ltbm", "chunk_seconds": "1"}, "chunk_seconds='1' must be"),
        ({"method": "ltbm", "allocation": "fair"}, r"allocation='fair' must be one of \('even', 'content'\)"),
        ({"method": "random", "chunk_seconds": 1}, "'random' cannot work in chunks"),
        ({"method": "none", "allocation": "content"}, "'none' cannot work in chunks"),
        ({"method": "segmentwise_top_k", "chunk_seconds": 1}, "cannot work in chunks; leave out chunk_seconds"),
        ({"method": "top_k", "order": "attention", "chunk_seconds": 1}, "no chunk_seconds"),
    ):
        with pytest.raises(CompressionConfigError, match=message):
            CompressionConfig(**values)


@pytest.mark.parametrize("kind", ["qwen2_audio", "audioflamingo3"])
def test_a_patched_model_and_processor_take_chunks(kind: str) -> None:
    import tiny

    config = CompressionConfig(method="average_pooling", retention_ratio=0.3, allocation="content", chunk_seconds=0.2)
    model, processor = tiny.model(kind), tiny.processor(kind)
    inputs = tiny.inputs(kind, [0.9, 0.5])
    with torch.no_grad():
        long = patch(model, config).generate(**inputs, max_new_tokens=3, do_sample=False)
        short_inputs = tiny.inputs(kind, [0.9, 0.5], of=patch(processor, config))
        short = model.generate(**short_inputs, max_new_tokens=3, do_sample=False)
    assert long[:, -3:].tolist() == short[:, -3:].tolist()
    assert model.audio_compressor.last.tokens_after == [config.output_length(22), config.output_length(12)]
