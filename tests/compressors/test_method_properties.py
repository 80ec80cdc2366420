"""What every method promises about counts, order and batches. A new method is covered the moment it is registered."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
import torch
from drawn import BUDGETED, DETERMINISTIC, MAPS, batch, compressor, config, draw, variants
from oracles import Audio

from hf_tokcomp import Assignment, AudioTokenCompressor, AudioTokens, CompressedAudio, CompressorOutputError, methods

LENGTHS = [40, 0, 7, 23, 1, 2, 12]


def audios(kind: str = "walk", lengths: list[int] = LENGTHS) -> list[Audio]:
    return _audios(kind, tuple(lengths))


@functools.cache
def _audios(kind: str, lengths: tuple[int, ...]) -> list[Audio]:
    """Drawn once, since thousands of cases share them; `batch` copies them into tensors of each case's own."""
    rng = np.random.default_rng(3)
    return [draw(rng, n, kind) for n in lengths]


def assert_same(one: CompressedAudio, other: CompressedAudio) -> None:
    """Equal to the last bit, padding apart."""
    assert one.counts == other.counts
    for i, count in enumerate(one.counts):
        assert torch.equal(one.positions[i, :count], other.positions[i, :count])
        assert torch.equal(one.features[i, :count], other.features[i, :count])


@pytest.mark.parametrize(("method", "options"), variants())
def test_same_input_same_output_whatever_the_global_seed(method: str, options: dict[str, Any]) -> None:
    results = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        module = compressor(method, **options, retention_ratio=0.3)
        if module.learns:
            state = torch.get_rng_state()  # fresh weights are drawn, as everywhere in torch
        results.append(module(batch(audios())))
        # A draw from the global generator would change what the user samples afterwards.
        assert torch.equal(torch.get_rng_state(), state)
    assert_same(*results)


@pytest.mark.parametrize("kind", ["walk", "ties"])
@pytest.mark.parametrize("budget", [{"retention_ratio": 0.4}, {"max_tokens": 9}])
@pytest.mark.parametrize(("method", "options"), variants())
def test_batch_equals_single(method: str, options: dict[str, Any], budget: dict[str, Any], kind: str) -> None:
    # Under max_tokens some audios stay whole and some do not.
    module = compressor(method, **options, **budget)
    together = module(batch(audios(kind)))
    assert len(together.counts) == len(LENGTHS)
    for i, audio in enumerate(audios(kind)):
        alone = module(batch([audio]))
        count = alone.counts[0]
        assert together.counts[i] == count
        assert torch.equal(together.positions[i, :count], alone.positions[0, :count])
        # The sums of one audio are taken in the same order either way; but matrix products are blocked by their shape.
        close = 2e-5 if module.learns else 1e-6
        torch.testing.assert_close(together.features[i, :count], alone.features[0, :count], rtol=close, atol=close)
        if together.assignment is not None and alone.assignment is not None:
            n = len(audio.features)
            assert torch.equal(together.assignment.slot[i, :n], alone.assignment.slot[0, :n])
            assert torch.equal(together.assignment.weight[i, :n], alone.assignment.weight[0, :n])


@pytest.mark.parametrize("padding", [float("nan"), float("inf"), -float("inf"), 1e30, 0.5])
@pytest.mark.parametrize(("method", "options"), variants())
def test_padding_does_not_matter(method: str, options: dict[str, Any], padding: float) -> None:
    module = compressor(method, **options, max_tokens=5)
    clean = module(batch(audios(), padding=0.0))
    assert_same(clean, module(batch(audios(), padding=padding)))
    assert_same(clean, module(batch(audios(), padding=padding, extra=13)))


@pytest.mark.parametrize("kind", ["walk", "ties"])
@pytest.mark.parametrize(("method", "options"), variants())
def test_slots_are_in_temporal_order_at_distinct_positions(method: str, options: dict[str, Any], kind: str) -> None:
    module = compressor(method, **options, retention_ratio=0.35)
    result = module(batch(audios(kind)))
    assert result.positions.dtype == torch.long
    assert result.positions.shape == result.features.shape[:2]
    for i, (n, count) in enumerate(zip(LENGTHS, result.counts, strict=True)):
        positions = result.positions[i, :count].tolist()
        assert (positions if module.config.temporal_order else sorted(positions)) == sorted(set(positions))
        assert all(0 <= position < n for position in positions)
        assert result.positions[i, count:].eq(0).all()


@pytest.mark.parametrize(
    "budget",
    [{"retention_ratio": r} for r in (1e-9, 0.1, 0.25, 1 / 3, 0.5, 0.77, 0.999, 1.0)]
    + [{"tokens_per_second": t} for t in (0.01, 1, 6.25, 24.9, 25, 1000)]
    + [{"max_tokens": k} for k in (1, 2, 10, 33, 10**9)],
)
@pytest.mark.parametrize(("method", "options"), [v for v in variants() if v[0] in BUDGETED])
def test_count_is_the_one_announced(method: str, options: dict[str, Any], budget: dict[str, Any]) -> None:
    lengths = [0, 1, 2, 3, 4, 5, 9, 10, 11, 19, 25, 31, 50, 64]
    module = compressor(method, **options, **budget)
    if not module.config.deterministic_length:
        pytest.skip("the count follows the content")
    for frame_rate in (25.0, 12.5):
        result = module(dataclasses.replace(batch(audios(lengths=lengths)), frame_rate=frame_rate))
        announced = [module.config.output_length(n, frame_rate) for n in lengths]
        assert result.counts == announced
        assert all(min(n, 1) <= k <= n for n, k in zip(lengths, announced, strict=True))
        if result.assignment is not None:
            assert result.assignment.lengths.tolist() == announced
            assert (result.assignment.slot.amax(1) + 1).tolist() == announced


@pytest.mark.parametrize("budget", [{"retention_ratio": 1.0}, {"max_tokens": 40}, {"tokens_per_second": 25.0}])
@pytest.mark.parametrize("method", [m for m in DETERMINISTIC if m in BUDGETED or m == "none"])
def test_a_budget_that_fits_changes_nothing(method: str, budget: dict[str, Any]) -> None:
    tokens = batch(audios())
    result = compressor(method, **budget)(tokens)
    assert result.counts == LENGTHS
    for i, n in enumerate(LENGTHS):
        assert torch.equal(result.features[i, :n], tokens.features[i, :n])
        assert result.positions[i, :n].tolist() == list(range(n))


@pytest.mark.parametrize("method", MAPS)
def test_the_method_only_sees_audios_that_get_shorter(method: str) -> None:
    seen: list[tuple[int, int]] = []
    base = methods()[method].compressor_class

    class Spy(base):  # type: ignore[misc, valid-type]
        def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
            seen.extend(zip(tokens.counts, counts, strict=True))
            return super().assign_slots(tokens, counts)

    module = Spy(config(method, max_tokens=7))
    module(batch(audios()))
    known = module.config.deterministic_length
    after = [module.config.output_length(n, 25.0) for n in LENGTHS] if known else [0] * len(LENGTHS)
    shorter = [(n, k) for n, k in zip(LENGTHS, after, strict=True) if k < n and n > 1]
    assert seen == shorter
    assert bool(seen) == (base.assign_slots is not AudioTokenCompressor.assign_slots)
    seen.clear()
    module(batch(audios(lengths=[1, 0, 1])))
    module(batch(audios(lengths=[0])))
    assert seen == []


@pytest.mark.parametrize(("method", "options"), variants())
def test_no_audio_at_all(method: str, options: dict[str, Any]) -> None:
    module = compressor(method, **options)
    result = module(batch(audios())).features
    empty = AudioTokens(torch.zeros(0, 5, 8), [])  # type: ignore[arg-type]
    assert module(empty).features.shape == (0, 0, result.shape[2])
    assert module(batch(audios(lengths=[0, 0]))).counts == [0, 0]


def test_a_method_that_keeps_another_count_than_announced_is_caught() -> None:
    class TooMany(methods()["stride"].compressor_class):  # type: ignore[misc]
        def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
            return super().assign_slots(tokens, [k + 1 for k in counts])

    with pytest.raises(CompressorOutputError, match=r"TooMany made .*StrideConfig\.output_length"):
        TooMany(config("stride", max_tokens=3))(batch(audios()))
