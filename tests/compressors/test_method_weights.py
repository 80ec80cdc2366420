"""What a slot is made of: weights, sums, dtypes and gradients of every method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from drawn import MAPS, METHODS, batch, compressor, draw, variants
from drawn_assignments import apply_by_loop, read_slots

from hf_tokcomp import AudioTokens

LENGTHS = [40, 7, 23, 2, 0, 12]


def tokens(dtype: Any = torch.float32) -> AudioTokens:
    rng = np.random.default_rng(4)
    return batch([draw(rng, n) for n in LENGTHS], padding=0.0, dtype=dtype)


@pytest.mark.parametrize(("method", "options"), variants())
def test_weights_of_a_slot_sum_to_one(method: str, options: dict[str, Any]) -> None:
    module = compressor(method, **options, retention_ratio=0.3)
    if method not in MAPS or not module.preserves_mass:
        pytest.skip(f"{method} does not promise it")
    assignment = module.assign(tokens())
    for i, n in enumerate(LENGTHS):
        slots = read_slots(assignment, i)
        assert len(slots) == int(assignment.lengths[i])
        assert bool(slots) == bool(n)
        for slot in slots:
            assert sum(slot.weights) == pytest.approx(1, abs=1e-6)
        assert assignment.weight[i][assignment.slot[i] < 0].eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", METHODS)
def test_features_keep_their_dtype(method: str, dtype: torch.dtype) -> None:
    batched = tokens(dtype)
    result = compressor(method, retention_ratio=0.3)(batched)
    assert result.features.dtype == dtype
    if result.assignment is not None:
        # Summed in float32 and rounded once: within half a step of the exact sum.
        exact = apply_by_loop(result.assignment, batched.features)
        step = torch.finfo(dtype).eps * exact.abs() + 1e-6
        assert ((result.features.double() - exact).abs() <= step).all()


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_the_weights(method: str) -> None:
    batched = tokens()
    batched.features.requires_grad_()
    result = compressor(method, retention_ratio=0.3)(batched)
    assert result.features.requires_grad
    upstream = torch.randn(result.features.shape, generator=torch.Generator().manual_seed(0))
    (result.features * upstream).sum().backward()
    gradient = batched.features.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    if result.assignment is not None:
        wanted = torch.zeros_like(gradient)
        for i in range(len(LENGTHS)):
            for k, slot in enumerate(read_slots(result.assignment, i)):
                for token, weight in zip(slot.members, slot.weights, strict=True):
                    wanted[i, token] = weight * upstream[i, k]
        torch.testing.assert_close(gradient, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", MAPS)
def test_output_is_the_sum_over_members(method: str) -> None:
    batched = tokens()
    result = compressor(method, retention_ratio=0.3)(batched)
    assert result.assignment is not None
    torch.testing.assert_close(result.features, apply_by_loop(result.assignment, batched.features).float())


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", MAPS)
def test_dropped_tokens_contribute_nothing(method: str, poison: float) -> None:
    batched = tokens()
    assignment = compressor(method, retention_ratio=0.3).assign(batched)
    clean = batched.features.clone()
    poisoned = clean.masked_fill((assignment.slot < 0)[..., None], poison).requires_grad_()
    out = assignment.apply(poisoned)
    assert torch.equal(out, assignment.apply(clean))
    out.sum().backward()
    assert poisoned.grad is not None
    assert poisoned.grad.isfinite().all()


@pytest.mark.parametrize(("method", "options"), variants())
def test_autocast_does_not_change_what_is_kept(method: str, options: dict[str, Any]) -> None:
    # Trainer with bf16=True runs the whole forward under it; bfloat16 could not tell the candidates apart.
    module = compressor(method, **options, retention_ratio=0.3)
    plain = module(tokens())
    with torch.autocast("cpu", torch.bfloat16):
        cast = module(tokens())
    assert torch.equal(plain.positions, cast.positions)
    if plain.assignment is not None and cast.assignment is not None:
        assert torch.equal(plain.assignment.slot, cast.assignment.slot)
