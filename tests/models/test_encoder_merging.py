"""Merging between layers: how many are left, and an example by hand."""

from __future__ import annotations

import math

import pytest
import torch

from hf_tokcomp.models.encoder.merging import MergedPositions, positions_left, restored

PLACE = torch.device("cpu")


def test_how_many_are_left() -> None:
    assert positions_left(50, 0.4, 2) == [40, 30]
    assert positions_left(51, 0.4, 3) == [45, 38, 31]  # 20 of 51: 6, 13 and 20
    assert positions_left(50, 0.9, 1) == [25]  # a round merges half at most
    assert positions_left(50, 0.9, 3) == [35, 20, 10]
    assert positions_left(0, 0.5, 2) == [0, 0]
    assert positions_left(1, 0.9, 2) == [1, 1]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.9])
def test_rounds_are_even_and_reach_the_share_if_they_can(share: float) -> None:
    for positions in range(0, 1501, 7):
        for rounds in (1, 3, 31):
            left = positions_left(positions, share, rounds)
            steps = [a - b for a, b in zip([positions, *left], left, strict=False)]
            assert all(0 <= step <= (n // 2) for step, n in zip(steps, [positions, *left], strict=False))
            wanted = math.floor(positions * share + 0.5)
            if rounds == 1:
                assert left == [positions - min(wanted, positions // 2)]
            elif share <= 0.5 or rounds == 31:
                assert left[-1] == max(positions - wanted, min(positions, 1))
                assert max(steps) - min(steps) <= 1 or positions < 40


def test_an_example_by_hand() -> None:
    """Six positions and three. Angles of the keys: 0, 90, 10, 80 and 5, 180 degrees; in the second window all alike."""
    angles = torch.tensor([[0.0, 90, 10, 80, 5, 180], [0.0, 0, 0, 77, 77, 77]]).deg2rad()
    keys = torch.stack([angles.cos(), angles.sin()], -1)
    states = torch.tensor([[1.0, 2, 3, 4, 5, 6], [1, 2, 3, 0, 0, 0]])[..., None]
    merged = MergedPositions.separate([6, 3], 6, PLACE)
    # A is 0, 2, 4, and B 1, 3, 5. The best b of 0 is 3 (80 degrees), of 2 it is 3 (70), of 4 it is 3 (75).
    # One edge shall go: that of 2. In the second window 0 joins 1, the earlier of equals.
    states = merged.merge(states, keys, [5, 2])
    assert states[0, :, 0].tolist() == [1, 2, 3.5, 5, 6]
    assert states[1, :2, 0].tolist() == [1.5, 3]
    assert merged.left == [5, 2]
    assert merged.size[0].tolist() == [1, 1, 2, 1, 1]
    assert merged.size[1, :2].tolist() == [2, 1]
    assert merged.place[0].tolist() == [0, 1, 2, 2, 3, 4]
    assert merged.place[1, :3].tolist() == [0, 0, 1]
    mask = merged.mask(torch.float32)
    assert mask.shape == (2, 1, 1, 5)
    torch.testing.assert_close(mask[0, 0, 0], torch.tensor([0, 0, math.log(2), 0, 0]))
    assert (mask[1, 0, 0, 2:] == torch.finfo(torch.float32).min).all()

    # Now A is 0, 2, 4 and B 1, 3 of what is left: the pair (2, 3), 1, and 4, each with a key as given here.
    angles = torch.tensor([[0.0, 90, 85, 0, 90], [45.0, 45, 0, 0, 0]]).deg2rad()
    keys = torch.stack([angles.cos(), angles.sin()], -1)
    states = merged.merge(states, keys, [3, 1])
    # 0 joins 3 and 4 joins 1, both with cosine 1: a mean over all members.
    assert states[0, :, 0].tolist() == [(2 + 6) / 2, 3.5, (1 + 5) / 2]
    assert states[1, 0, 0] == 2
    assert merged.size[0].tolist() == [2, 2, 2]
    assert merged.place[0].tolist() == [2, 0, 1, 1, 2, 0]
    assert restored(states, merged.place)[0, :, 0].tolist() == [3, 4, 3.5, 3.5, 3, 4]
    assert restored(states, merged.place)[1, :3, 0].tolist() == [2, 2, 2]


@pytest.mark.grad
def test_sizes_weigh_the_mean_and_what_stays_is_untouched() -> None:
    states = torch.tensor([[[0.1], [7.0], [1e-3]]], requires_grad=True)
    merged = MergedPositions([3], torch.tensor([[3.0, 1.0, 5.0]]), torch.arange(3)[None])
    out = merged.merge(states, torch.tensor([[[1.0, 0], [1, 0], [0, 1]]]), [2])
    torch.testing.assert_close(out[0, 0, 0], torch.tensor((3 * 0.1 + 7) / 4))
    assert out[0, 1, 0] == states[0, 2, 0]
    out.sum().backward()
    assert states.grad.flatten().tolist() == [0.75, 0.25, 1.0]  # type: ignore[union-attr]
