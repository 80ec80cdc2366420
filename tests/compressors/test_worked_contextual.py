"""visionzip by hand: dominant tokens, targets, and who is gathered around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from drawn import batch, compressor, draw
from test_worked_merges import directions
from worked import compress, kept

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig, CompressionConfigError
from hf_tokcomp.compressors import VisionZipConfig, visionzip

#            0    1    2    3    4    5    6    7    8
ATTENTION = [1.0, 9.0, 2.0, 1.0, 8.0, 1.0, 2.0, 7.0, 1.0]
KEYS = directions(0, 0, 10, 80, 0, 90, 20, 0, 60)


def run(**options: Any) -> list[tuple[list[int], int]]:
    return compress("visionzip", 9, ATTENTION, {"keys": KEYS}, **options)


def test_visionzip_of_nine_to_five() -> None:
    # 5 * 0.667 / 1.667 = 2.0: two contextual tokens and three dominant ones, 1, 4 and 7.
    # The rest is 0 2 3 5 6 8: step 3, targets 0 (0 degrees) and 5 (90). 2 and 6 are near 0; 3 and 8 near 5.
    assert run(max_tokens=5, contextual_ratio=0.667) == [([0, 2, 6], 0), ([1], 1), ([4], 4), ([3, 5, 8], 5), ([7], 7)]


def test_visionzip_takes_the_first_targets_only() -> None:
    # 7 * 1.5 / 2.5 = 4.2: four contextual and three dominant tokens; the rest of six has step 1: 0, 2, 3 and 5.
    # 6 (20 degrees) goes to 2 (10), 8 (60) to 3 (80).
    slots = [([0], 0), ([1], 1), ([2, 6], 2), ([3, 8], 3), ([4], 4), ([5], 5), ([7], 7)]
    assert run(max_tokens=7, contextual_ratio=1.5) == slots


def test_visionzip_counts_the_contextual_tokens() -> None:
    counts = [VisionZipConfig().contextual_count(k) for k in (1, 3, 4, 9, 10, 75, 100)]
    assert counts == [0, 0, 1, 1, 2, 11, 15]  # k * 0.15254, halves up
    assert VisionZipConfig(contextual_ratio=1.0).contextual_count(3) == 2
    assert VisionZipConfig(contextual_ratio=1e308).contextual_count(7) == 7
    # All tokens contextual: 9 tokens, step 4, targets 0 and 4; both at 0 degrees, so ties go to 0.
    assert run(max_tokens=2, contextual_ratio=99) == [([0, 1, 2, 3, 5, 6, 7, 8], 0), ([4], 4)]


def test_visionzip_without_contextual_tokens_is_top_k() -> None:
    assert run(max_tokens=5, contextual_ratio=0) == kept(1, 2, 4, 6, 7) == compress("top_k", 9, ATTENTION, max_tokens=5)


@pytest.mark.parametrize(
    ("contextual", "weights"),
    [
        ("sum", [1, 1, 1 / 2, 1 / 2, 1, 1, 1 / 2, 1, 1 / 2]),
        ("mean", [1 / 3, 1, 1 / 3, 1 / 3, 1, 1 / 3, 1 / 3, 1, 1 / 3]),
    ],
)
def test_visionzip_weights(contextual: str, weights: list[float]) -> None:
    # The slots of nine to five: {0; 2, 6} and {5; 3, 8}. A sum is the target plus the mean of the others.
    options: dict[str, Any] = {"max_tokens": 5, "contextual_ratio": 0.667, "contextual": contextual}
    module = AudioTokenCompressor.from_config(CompressionConfig(method="visionzip", **options))
    assert module.preserves_mass == (contextual == "mean")
    features = torch.tensor([[[1.0], [1.0], [2.0], [3.0], [4.0], [6.0], [6.0], [7.0], [9.0]]])
    tokens = AudioTokens(features, [9], attention=torch.tensor([ATTENTION]), keys=torch.tensor([KEYS]))
    result = module(tokens)
    assert result.assignment is not None
    assert result.assignment.weight[0].tolist() == pytest.approx(weights)
    wanted = [1 + (2 + 6) / 2, 1, 4, 6 + (3 + 9) / 2, 7]
    if contextual == "mean":
        wanted = [(1 + 2 + 6) / 3, 1, 4, (6 + 3 + 9) / 3, 7]
    assert result.features.flatten().tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("contextual", ["sum", "mean"])
def test_visionzip_target_with_nothing_assigned_stays_itself(contextual: str) -> None:
    # Four tokens, step 2, targets 0 (0 degrees) and 2 (80): 1 (90) and 3 (85) both go to 2.
    options = {"max_tokens": 2, "contextual_ratio": 99, "contextual": contextual}
    module = AudioTokenCompressor.from_config(CompressionConfig(method="visionzip", **options))
    keys = torch.tensor([directions(0, 90, 80, 85)])
    assignment = module.assign(AudioTokens(torch.ones(1, 4, 1), [4], attention=torch.ones(1, 4), keys=keys))
    assert assignment.slot.tolist() == [[0, 1, 1, 1]]
    assert assignment.position.tolist() == [[0, 2]]
    wanted = [1, 1 / 2, 1, 1 / 2] if contextual == "sum" else [1, 1 / 3, 1 / 3, 1 / 3]
    assert assignment.weight[0].tolist() == pytest.approx(wanted)


def test_visionzip_compares_features_if_asked() -> None:
    features = directions(0, 0, 90, 80, 0, 90, 20, 0, 20)
    slots = compress("visionzip", features, ATTENTION, max_tokens=5, contextual_ratio=0.667, similarity="features")
    assert slots == [([0, 6, 8], 0), ([1], 1), ([4], 4), ([2, 3, 5], 5), ([7], 7)]
    module = AudioTokenCompressor.from_config(CompressionConfig(method="visionzip", similarity="features"))
    assert module.requires == {"attention"}


@pytest.mark.parametrize("options", [{"contextual_ratio": 1.0}, {"contextual_ratio": 30.0, "similarity": "features"}])
def test_visionzip_in_blocks(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    tokens = batch([draw(rng, n) for n in (41, 30, 14, 7)])
    module = compressor("visionzip", **options, max_tokens=6)
    whole = module.assign(tokens)
    monkeypatch.setattr(visionzip, "BLOCK", 150)
    assert torch.equal(module.assign(tokens).slot, whole.slot)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contextual_ratio": -0.1}, "contextual_ratio=-0.1 must be a finite number >= 0"),
        ({"contextual_ratio": float("inf")}, "contextual_ratio=inf must be a finite number >= 0"),
        ({"contextual_ratio": False}, "contextual_ratio=False must be a finite number >= 0"),
        ({"contextual": "max"}, "contextual='max' must be one of"),
        ({"similarity": "pixels"}, "similarity='pixels' must be one of"),
    ],
)
def test_visionzip_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CompressionConfigError, match=message):
        CompressionConfig(method="visionzip", **options)
