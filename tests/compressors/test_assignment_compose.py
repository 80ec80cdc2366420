"""Chaining assignments: keep, mean and merge in every order, against a loop and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_assignments import keep, mean, random_assignment, read_slots
from oracles import Slot

from hf_tokcomp import Assignment

LENGTHS = [9, 14, 1, 6]  # tokens of each audio; 14 is the batch's width


def by_loop(first: Assignment, second: Assignment, row: int) -> list[Slot]:
    """Two assignments chained, slot by slot: members are original tokens and weights multiply."""
    inner = read_slots(first, row)
    slots = []
    for outer in read_slots(second, row):
        joined = [
            (token, weight * outer_weight)
            for member, outer_weight in zip(outer.members, outer.weights, strict=True)
            for token, weight in zip(inner[member].members, inner[member].weights, strict=True)
        ]
        joined.sort()
        slots.append(Slot([t for t, _ in joined], [w for _, w in joined], inner[outer.position].position))
    return slots


@pytest.mark.parametrize("second", ["keep", "mean", "merge"])
@pytest.mark.parametrize("first", ["keep", "mean", "merge"])
def test_compose_equals_the_loop(first: str, second: str) -> None:
    rng = np.random.default_rng(1)
    one = random_assignment(rng, first, LENGTHS)
    two = random_assignment(rng, second, one.lengths.tolist())
    both = one.compose(two)
    assert both.lengths.tolist() == two.lengths.tolist()
    assert both.width == two.width
    for row in range(len(LENGTHS)):
        slots, wanted = read_slots(both, row), by_loop(one, two, row)
        assert [slot.members for slot in slots] == [slot.members for slot in wanted]
        for slot, wants, outer in zip(slots, wanted, read_slots(two, row), strict=True):
            assert slot.weights == pytest.approx(wants.weights)
            # Pooled slots stand among their original members; any other, and one alone, where it stood.
            pooled = second == "mean" and len(outer.members) > 1
            assert slot.position == (sum(wants.members) // len(wants.members) if pooled else wants.position)
    features = torch.randn(4, 14, 3)
    torch.testing.assert_close(both.apply(features), two.apply(one.apply(features)))


def test_compose_a_chain_by_hand() -> None:
    # Keep 1, 3, 4, 6, 8; average (1, 3, 4) and (6, 8); keep the second.
    chain = keep(".x.xx.x.x").compose(mean([[0, 0, 0, 1, 1]])).compose(keep(".x"))
    assert read_slots(chain, 0) == [Slot([6, 8], [0.5, 0.5], 7)]
    # Merge 0 into 1 and 2 into 3, then the first into the second: a quarter each, at 3.
    halves = mean([[0, 0, 1, 1]], [[1, 3]]).compose(mean([[0, 0]], [[1]]))
    assert read_slots(halves, 0) == [Slot([0, 1, 2, 3], [0.25] * 4, 3)]


def test_compose_leaves_positions_beyond_the_slots_at_zero() -> None:
    both = keep("..xxx", "...x.").compose(keep("x.x", "x.."))
    assert both.position.tolist() == [[2, 4], [3, 0]]


def test_compose_does_not_depend_on_the_neighbours() -> None:
    # The first audio is averaged in pairs, alone or beside an audio that stays whole.
    pruned, pooled = keep(".x.xxx", "xx...."), mean([[0, 0, 1, 1]])
    beside = pooled.scatter_rows([0], Assignment.identity(torch.tensor([0, 2]), 4, 2))
    assert read_slots(keep(".x.xxx").compose(pooled), 0) == read_slots(pruned.compose(beside), 0)


def test_compose_keeps_the_positions_of_an_audio_that_stays_whole() -> None:
    # Merged into 2 and 3, then left as it is: alone, and beside an audio that is averaged.
    merged = mean([[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, -1, -1]], [[2, 5], [2, 3]])
    alone = mean([[0, 0, 0, 1, -1, -1]], [[2, 3]]).compose(Assignment.identity(torch.tensor([2]), 2, 2))
    beside = mean([[0, 0]]).scatter_rows([0], Assignment.identity(torch.tensor([0, 2]), 2, 2))
    assert alone.position.tolist() == [[2, 3]]
    assert read_slots(merged.compose(beside), 1) == read_slots(alone, 0)
