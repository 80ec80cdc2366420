"""Prominence against scipy's, peaks spaced out and segments split against doing it one by one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from drawn import batch, compressor, draw, in_time  # noqa: F401 - in_time is a fixture
from oracle_segmentation import equal_parts, halve_one
from scipy.signal import peak_prominences
from torch import Tensor

from hf_tokcomp.compressors.segmentation import is_peak, prominences, well_spaced
from hf_tokcomp.ops.segments import halve_longest, split_longer_than

Curves = list[np.ndarray]


def curves(rng: np.random.Generator, kind: str) -> Curves:
    lengths = [1, 2, 3, 4, 7, 8, 9, 31, 64, 200]
    if kind == "levels":  # many plateaus and equal tops
        return [rng.integers(0, 4, size=n).astype(np.float32) for n in lengths]
    if kind == "stairs":
        return [np.where(np.arange(n) % 2, np.arange(n), 0).astype(np.float32) for n in lengths]
    return [rng.normal(size=n).astype(np.float32) for n in lengths]


def padded(rows: Curves) -> Tensor:
    out = torch.full((len(rows), max(map(len, rows)) + 3), torch.inf)
    for place, row in zip(out, rows, strict=True):
        place[: len(row)] = torch.from_numpy(row)
    return out


def peaks_of(curve: np.ndarray) -> list[int]:
    return [t for t in range(1, len(curve) - 1) if curve[t - 1] < curve[t] > curve[t + 1]]


@pytest.mark.parametrize("kind", ["random", "levels", "stairs"])
def test_prominences_are_scipys(kind: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        rows = curves(rng, kind)
        found, heights = is_peak(padded(rows)), prominences(padded(rows))
        for i, row in enumerate(rows):
            peaks = peaks_of(row)
            assert found[i].nonzero().flatten().tolist() == peaks
            wanted = peak_prominences(row.astype(np.float64), peaks)[0] if peaks else np.zeros(0)
            assert heights[i, peaks].double().numpy() == pytest.approx(wanted, abs=1e-6)
            assert heights[i, len(row) :].eq(0).all()


@pytest.mark.parametrize("kind", ["random", "levels", "stairs"])
def test_well_spaced_is_one_by_one(kind: str) -> None:
    rng = np.random.default_rng(1)
    for gaps in ([1] * 10, [2] * 10, [5] * 10, [1000] * 10, list(range(1, 11)), [33, 2, 1, 9, 3, 4, 200, 7, 6, 3]):
        rows = curves(rng, kind)
        heights = padded(rows)
        rank = torch.stack([torch.from_numpy(rng.permutation(heights.shape[1])) for _ in rows])
        taken = well_spaced(rank, is_peak(heights), gaps)
        for i, row in enumerate(rows):
            wanted: list[int] = []
            for t in sorted(peaks_of(row), key=rank[i].tolist().__getitem__):
                if all(abs(t - other) >= gaps[i] for other in wanted):
                    wanted.append(t)
            assert taken[i].nonzero().flatten().tolist() == sorted(wanted)


def drawn_cuts(rng: np.random.Generator, n: int) -> list[int]:
    inner = rng.permutation(np.arange(1, n))[: rng.integers(0, max(1, n // 4))]
    return [0, *sorted(inner.tolist()), n]


def opened(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """`opens` and `mask` of segments between these cuts; the last one is the audio's length."""
    opens = torch.zeros(len(rows), max(cuts[-1] for cuts in rows) + 2, dtype=torch.bool)
    for row, cuts in zip(opens, rows, strict=True):
        row[cuts[:-1]] = True
    lengths = torch.tensor([cuts[-1] for cuts in rows])
    return opens, torch.arange(opens.shape[1]) < lengths[:, None]


def test_halving_the_longest_is_one_by_one() -> None:
    rng = np.random.default_rng(2)
    sizes = [2, 3, 5, 16, 17, 31, 33, 100]
    for _ in range(10):
        rows = [drawn_cuts(rng, n) for n in sizes]
        opens, mask = opened(rows)
        wanted = [int(rng.integers(len(cuts) - 1, cuts[-1] + 1)) for cuts in rows]
        result = halve_longest(opens, mask, torch.tensor(wanted))
        for i, cuts in enumerate(rows):
            while len(cuts) <= wanted[i]:
                cuts = halve_one(cuts)
            assert result[i].nonzero().flatten().tolist() == cuts[:-1]


def test_splitting_what_is_too_long_gives_equal_parts() -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        rows = [drawn_cuts(rng, n) for n in (2, 3, 5, 16, 17, 31, 33, 100)]
        most = [int(m) for m in rng.integers(1, 12, size=len(rows))]
        result = split_longer_than(*opened(rows), torch.tensor(most))
        for i, cuts in enumerate(rows):
            wanted = [c for part in pairwise(cuts) for c in equal_parts(*part, most[i] / 25)]
            assert result[i].nonzero().flatten().tolist() == wanted


def test_durations_are_kept_at_every_frame_rate() -> None:
    # In floats 0.28 s * 25 is a little more than 7 tokens, and 1.16 s * 25 a little less than 29.
    rng = np.random.default_rng(4)
    tokens = batch([draw(rng, 232) for _ in range(3)])
    tokens.frame_rate = [25.0, 12.5, 50.0]
    shortest = compressor("segmentation", min_duration=0.28).assign(tokens)
    assert [int(torch.bincount(row).min()) for row in shortest.slot] == [7, 4, 14]
    tokens.features[:] = 1.0  # no boundaries
    longest = compressor("segmentation", max_duration=1.16).assign(tokens)
    assert [int(torch.bincount(row).max()) for row in longest.slot] == [29, 14, 58]
