"""AudioTokens: what it checks, masks, asks for and selects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from drawn import batch, draw
from torch import Tensor

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig
from hf_tokcomp.ops.audio_tokens import PER_TOKEN


def test_lengths_may_be_a_list_or_a_tensor() -> None:
    features = torch.zeros(3, 4, 2)
    for lengths in ([4, 0, 2], torch.tensor([4, 0, 2])):
        tokens = AudioTokens(features, lengths)  # type: ignore[arg-type]
        assert tokens.counts == [4, 0, 2]
        assert isinstance(tokens.lengths, Tensor)
        assert tokens.mask.tolist() == [[True] * 4, [False] * 4, [True, True, False, False]]
        assert tokens.frame_rates == [None] * 3


@pytest.mark.parametrize("shape", [(4, 2), (3, 4), (2, 4, 2), (3, 4, 2, 1)])
def test_features_must_have_three_dimensions_and_one_length_per_audio(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"features must be .* and 3 lengths"):
        AudioTokens(torch.zeros(shape), torch.tensor([1, 2, 2]))


@pytest.mark.parametrize("lengths", [[5, 1], [-1, 1]])
def test_lengths_must_fit(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"lengths \[.*\] do not fit features of 4 tokens"):
        AudioTokens(torch.zeros(2, 4, 2), torch.tensor(lengths))


def test_what_is_missing_is_asked_for_by_name() -> None:
    tokens = AudioTokens(torch.zeros(1, 4, 2), torch.tensor([4]), keys=torch.ones(1, 4, 3))
    assert torch.equal(tokens.need("keys"), torch.ones(1, 4, 3))
    with pytest.raises(ValueError, match="needs `attention`; list it in the compressor's `requires`"):
        tokens.need("attention")


def test_select_takes_audios_in_the_order_asked_for_and_cuts_them() -> None:
    rng = np.random.default_rng(0)
    audios = [draw(rng, n) for n in (9, 3, 0, 5)]
    tokens = batch(audios, padding=7.0)
    tokens.frame_rate = 12.5
    chosen = tokens.select([3, 1])
    assert chosen.counts == chosen.lengths.tolist() == [5, 3]
    assert chosen.frame_rate == 12.5
    wanted = batch([audios[3], audios[1]], padding=7.0)
    for name in ("features", "query", "query_lengths", *PER_TOKEN):
        assert torch.equal(getattr(chosen, name), getattr(wanted, name)), name
    assert chosen.mask.shape == (2, 5)
    assert AudioTokens(torch.zeros(2, 4, 2), torch.tensor([4, 1])).select([1]).keys is None


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("stride", {"tokens_per_second": 5}),
        ("stride", {"retention_ratio": 0.5, "chunk_seconds": 1}),
        ("segmentation", {"max_duration": 1}),
        ("segmentation", {"min_duration": 0.1}),
        ("segmentwise_top_k", {"retention_ratio": 0.5, "segment_seconds": 1}),
    ],
)
def test_no_rate_is_assumed(method: str, options: dict[str, Any]) -> None:
    module = AudioTokenCompressor.from_config(CompressionConfig(method=method, **options))
    given = {"features": torch.randn(1, 40, 2), "lengths": torch.tensor([40]), "attention": torch.rand(1, 40)}
    with pytest.raises(ValueError, match="counts by time: say how many tokens per second"):
        module(AudioTokens(**given))
    assert module(AudioTokens(**given, frame_rate=10.0)).counts[0] < 40
