"""Scores of tokens from an encoder's queries and keys: one, two or four positions a token, whole windows or blocks."""

from __future__ import annotations

import pytest
import torch
from attention_reference import matrices
from torch import Tensor

from hf_tokcomp.models.base import EncodedWindows
from hf_tokcomp.models.encoder.scores import READ, add_scores

HEADS, SIZE, WIDTH, SCALE = 2, 3, 22, 0.6
POSITIONS = [22, 13, 8, 1, 0]


def expected(query: Tensor, key: Tensor, n: int, seen: int, per_token: int, block: int) -> dict[str, Tensor]:
    """The slow way for one window: a matrix of all positions against all that are in the same block."""
    tokens = WIDTH // per_token
    whole = torch.zeros(HEADS, WIDTH, WIDTH, dtype=torch.float64)
    for begin in range(0, seen, block):
        end = min(begin + block, seen)
        whole[:, begin:end, begin:end] = matrices(query[begin:end], key[begin:end], HEADS, SCALE)
    whole[:, n:] = 0
    parts = [slice(per_token * t, per_token * (t + 1)) for t in range(tokens)]
    sums, mean = whole.sum(1), whole.mean(0)
    return {
        "attention": torch.stack([sums.mean(0)[part].mean() for part in parts]),
        "attention_max": torch.stack([sums.amax(0)[part].mean() for part in parts]),
        "attention_peak": torch.stack([whole.amax(0).sum(0)[part].mean() for part in parts]),
        "attention_self": torch.stack([mean[part, part].sum() / per_token for part in parts]),
        "keys": torch.stack([key[part].view(-1, HEADS, SIZE).mean((0, 1)) for part in parts]),
    }


@pytest.mark.parametrize("more", [None, 0, 5])
@pytest.mark.parametrize("block", [None, 4, 8, 100])
@pytest.mark.parametrize("per_token", [1, 2, 4])
def test_they_are_those_of_the_slow_way(per_token: int, block: int | None, more: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (2 * torch.randn(len(POSITIONS), WIDTH, HEADS * SIZE, generator=generator) for _ in range(2))
    encoded = EncodedWindows(torch.zeros(len(POSITIONS), WIDTH // per_token, 1))
    attended_to = [min(WIDTH, n + (more or 0)) for n in POSITIONS]
    seen = None if more is None else torch.tensor(attended_to)
    sizes = {"heads": HEADS, "scale": SCALE, "per_token": per_token, "block": block, "seen": seen}
    add_scores(encoded, READ, query, key, torch.tensor(POSITIONS), **sizes)  # type: ignore[arg-type]
    for row, (n, keys) in enumerate(zip(POSITIONS, attended_to, strict=True)):
        for name, wanted in expected(query[row], key[row], n, keys, per_token, block or WIDTH).items():
            found = getattr(encoded, name)[row]
            torch.testing.assert_close(found.double(), wanted.double(), rtol=1e-5, atol=1e-6)


def test_nothing_is_made_that_nobody_asked_for() -> None:
    encoded, states = EncodedWindows(torch.zeros(1, 2, 1)), torch.zeros(1, 4, 6)
    add_scores(encoded, frozenset({"keys"}), states, states, torch.tensor([4]), heads=2, scale=1.0)
    assert encoded.keys is not None
    assert encoded.attention is None
