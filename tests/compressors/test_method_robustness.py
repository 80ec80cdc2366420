"""Silence, constants, huge values, NaN, infinities, missing fields: every method on what it was not made for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from drawn import METHODS, batch, compressor, draw, in_time, variants  # noqa: F401 - in_time is a fixture
from drawn_assignments import read_slots
from oracles import Audio
from torch import Tensor

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressedAudio, CompressionConfig
from hf_tokcomp.ops import audio_tokens

LENGTHS = [40, 7, 23, 2, 0, 12]
NEEDY = [(name, options) for name, options in variants() if compressor(name, **options).requires]


@functools.cache
def audios() -> list[Audio]:
    rng = np.random.default_rng(4)
    return [draw(rng, n) for n in LENGTHS]


def tokens() -> AudioTokens:
    return batch(audios(), padding=0.0)


def filled(change: Callable[[Tensor], Tensor]) -> AudioTokens:
    """The audios with every float field changed."""
    plain = tokens()
    fields = {name: change(getattr(plain, name).clone()) for name in ("features", "query", *audio_tokens.PER_TOKEN)}
    return dataclasses.replace(plain, **fields)


def sprinkled(*values: float) -> Callable[[Tensor], Tensor]:
    def change(field: Tensor) -> Tensor:
        for i, value in enumerate(values):
            field[:, i :: len(values) + 2] = value
        return field

    return change


FINITE = {
    "zeros": torch.zeros_like,
    "constant": torch.ones_like,
    "negative constant": lambda x: torch.full_like(x, -3.7),
    "half silent": sprinkled(0.0),
    "tiny": lambda x: x * 1e-42,
    "huge": lambda x: torch.where(x > 0, 3e38, -3e38),
    "huge constant": lambda x: torch.full_like(x, 3e38),
    "huge and tiny": sprinkled(3e38, -3e38, 1e-40),
}
BROKEN = {
    "all nan": lambda x: torch.full_like(x, float("nan")),
    "all inf": lambda x: torch.full_like(x, float("inf")),
    "all -inf": lambda x: torch.full_like(x, -float("inf")),
    "some nan": sprinkled(float("nan")),
    "some inf": sprinkled(float("inf"), -float("inf")),
    "a bit of all": sprinkled(float("nan"), float("inf"), 0.0, -float("inf"), 3e38),
}


def assert_sound(result: CompressedAudio, wanted: list[int], in_order: bool = True) -> None:
    """The announced counts, rising positions, and no slot without a token."""
    assert result.counts == wanted
    for i, (n, count) in enumerate(zip(LENGTHS, wanted, strict=True)):
        positions = result.positions[i, :count].tolist()
        assert (positions if in_order else sorted(positions)) == sorted(set(positions))
        assert all(0 <= position < n for position in positions)
        if result.assignment is not None:
            members = [token for slot in read_slots(result.assignment, i) for token in slot.members]
            assert all(slot.members for slot in read_slots(result.assignment, i))
            assert len(members) == len(set(members))
            assert all(token < n for token in members)


@pytest.mark.parametrize("change", [*FINITE, *BROKEN])
@pytest.mark.parametrize(("method", "options"), variants())
def test_any_input_gives_a_sound_answer(method: str, options: dict[str, Any], change: str) -> None:
    for budget in ({"max_tokens": 1}, {"max_tokens": 6}, {"retention_ratio": 0.45}):
        module = compressor(method, **options, **budget)
        result = module(filled((FINITE | BROKEN)[change]))
        known = module.config.deterministic_length
        assert_sound(
            result,
            [module.config.output_length(n, 25.0) for n in LENGTHS] if known else result.counts,
            module.config.temporal_order,
        )
        # A sum (preserves_mass False) may rightly overflow.
        if change in FINITE and (module.preserves_mass or "huge" not in change):
            for i, count in enumerate(result.counts):
                assert result.features[i, :count].isfinite().all()


@pytest.mark.parametrize(("method", "options"), NEEDY)
def test_what_a_method_needs_is_asked_for_by_name(method: str, options: dict[str, Any]) -> None:
    module = compressor(method, **options, retention_ratio=0.3)
    for need in sorted(module.requires):
        with pytest.raises(ValueError, match=f"needs `{need}`"):
            module(dataclasses.replace(tokens(), **{need: None}))


@pytest.mark.parametrize(("method", "options"), variants())
def test_what_a_method_does_not_need_may_be_missing(method: str, options: dict[str, Any]) -> None:
    module = compressor(method, **options, retention_ratio=0.3)
    assert module.requires <= audio_tokens.NEEDS
    bare = dataclasses.replace(tokens(), **dict.fromkeys(audio_tokens.NEEDS - module.requires))
    result, full = (module(x) for x in (bare, tokens()))
    assert torch.equal(result.features, full.features)
    assert torch.equal(result.positions, full.positions)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "segmentation", "max_duration": 1.7e308},
        {"method": "segmentation", "min_duration": 1.7e308},
        {"method": "ltbm", "window": 2**53 - 1},
        {"method": "ltbm", "chunk_seconds": 1.7e308},
        {"method": "ltbm", "chunk_seconds": 5e-324},
        {"method": "segmentwise_top_k", "segment_seconds": 5e-324},
        {"method": "segmentwise_top_k", "segments": 2**53 - 1},
        {"method": "visionzip", "contextual_ratio": 1.7e308},
        {"method": "speechprune", "frame_seconds": 1.7e308, "phase1_tokens": 2**53 - 1},
        {"method": "speechprune", "frame_seconds": 5e-324},
        {"method": "stride", "max_tokens": 2**53 - 1},
        {"method": "random", "seed": 2**53 - 1},
    ],
)
def test_extreme_options_are_no_error(options: dict[str, Any]) -> None:
    result = AudioTokenCompressor.from_config(CompressionConfig(**options))(tokens())
    assert all(min(n, 1) <= k <= n for n, k in zip(LENGTHS, result.counts, strict=True))
