"""Assignment by itself: applying, chaining, spans in seconds, and putting rows back, against loops and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_assignments import apply_by_loop, keep, mean, random_assignment, read_slots
from oracles import Slot

from hf_tokcomp import Assignment

LENGTHS = [9, 14, 1, 6]  # tokens of each audio; 14 is the batch's width


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_keep_by_hand() -> None:
    assignment = keep(".x.xx", "x....")
    assert assignment.slot.tolist() == [[-1, 0, -1, 1, 2], [0, -1, -1, -1, -1]]
    assert assignment.weight.tolist() == [[0, 1, 0, 1, 1], [1, 0, 0, 0, 0]]
    assert assignment.lengths.tolist() == [3, 1]
    assert assignment.position.tolist() == [[1, 3, 4], [0, 0, 0]]


def test_identity() -> None:
    assignment = Assignment.identity(torch.tensor([3, 0, 2]), 4, 3)
    assert assignment.slot.tolist() == [[0, 1, 2, -1], [-1] * 4, [0, 1, -1, -1]]
    assert assignment.position.tolist() == [[0, 1, 2], [0, 0, 0], [0, 1, 0]]
    features = torch.randn(3, 4, 5)
    out = assignment.apply(features)
    assert torch.equal(out[0], features[0, :3])
    assert out[1].eq(0).all()
    assert torch.equal(out[2], torch.cat([features[2, :2], torch.zeros(1, 5)]))


def test_mean_stands_at_the_floor_of_its_members_mean_index_unless_told() -> None:
    slots = [[0, 0, 0, 1, 1], [0, 1, 1, -1, -1]]  # mean indices 1 and 3.5; 0 and 1.5
    assert mean(slots).position.tolist() == [[1, 3], [0, 1]]
    assert mean(slots, [[2, 4], [0, 2]]).position.tolist() == [[2, 4], [0, 2]]
    third = pytest.approx([1 / 3] * 3 + [1 / 2] * 2)
    assert mean(slots).weight[0].tolist() == third
    assert mean(slots).weight[1].tolist() == [1, 0.5, 0.5, 0, 0]


def test_width_is_read_where_it_is_not_given() -> None:
    assignment = Assignment(torch.tensor([[0, 1, -1]]), torch.ones(1, 3), torch.tensor([2]))
    assert assignment.width == 2
    assert assignment.position.tolist() == [[0, 1]]


@pytest.mark.parametrize("kind", ["keep", "mean", "merge"])
def test_apply_equals_the_loop(kind: str) -> None:
    assignment = random_assignment(np.random.default_rng(0), kind, LENGTHS)
    assignment.weight *= torch.rand(assignment.weight.shape) + 0.5  # no special weights
    features = torch.randn(4, 14, 5)
    out = assignment.apply(features)
    torch.testing.assert_close(out, apply_by_loop(assignment, features).float())
    for row, count in enumerate(assignment.lengths.tolist()):
        assert out[row, count:].eq(0).all(), "padding slots are zero"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_kept_tokens_are_copies(dtype: torch.dtype) -> None:
    features = torch.randn(2, 5, 3).to(dtype)
    features[:, 2] = torch.tensor([-0.0, torch.inf, torch.finfo(dtype).tiny]).to(dtype)
    out = keep(".xx.x", "..x..").apply(features)
    assert out.dtype == dtype
    assert torch.equal(out[0], features[0, [1, 2, 4]])
    assert torch.equal(out[1], torch.stack([features[1, 2], *torch.zeros(2, 3).to(dtype)]))
    assert out[0, 1, 0].signbit()
    assert not keep("xx").compose(mean([[0, 0]])).one_each


def test_apply_sums_half_precision_in_float32() -> None:
    # 256 + 1 is 256 in bfloat16: a sum taken there would lose the ones.
    features = torch.tensor([[[256.0], [1.0], [1.0], [1.0], [1.0]]], dtype=torch.bfloat16)
    assignment = Assignment(torch.zeros(1, 5, dtype=torch.long), torch.ones(1, 5), torch.tensor([1]))
    out = assignment.apply(features)
    assert out.dtype == torch.bfloat16
    assert out.item() == 260
    assert assignment.apply(features.double()).dtype == torch.float64


def test_token_times() -> None:
    assignment = mean([[0, 0, 1, -1, 2, 1], [0, -1, -1, -1, -1, -1]])
    # At 25 tokens per second a token lasts 0.04 s; slot 1 holds tokens 2 and 5, so it spans 3 and 4 too.
    wanted = [[[0, 0.08], [0.08, 0.24], [0.16, 0.2]], [[0, 0.04], [0, 0], [0, 0]]]
    torch.testing.assert_close(assignment.token_times(25.0), torch.tensor(wanted))
    torch.testing.assert_close(assignment.token_times(50.0), torch.tensor(wanted) / 2)


def test_token_times_equal_the_loop() -> None:
    assignment = random_assignment(np.random.default_rng(2), "merge", LENGTHS)
    times = assignment.token_times(10.0)
    for row in range(len(LENGTHS)):
        slots = read_slots(assignment, row)
        assert slots
        for k, slot in enumerate(slots):
            assert times[row, k].tolist() == pytest.approx([slot.members[0] / 10, (slot.members[-1] + 1) / 10])


@pytest.mark.parametrize("rows", [[0, 2], [3], [2, 0, 3]])
def test_scatter_rows_puts_audios_back(rows: list[int]) -> None:
    rng = np.random.default_rng(3)
    lengths = [LENGTHS[row] for row in rows]
    part = random_assignment(rng, "merge", lengths)  # narrower than the batch, in tokens and in slots
    into = random_assignment(rng, "keep", [14, 14, 14, 14])  # so that something stands where nothing may be left
    before = [read_slots(into, row) for row in range(4)]
    out = part.scatter_rows(rows, into)
    for row in range(4):
        wanted = read_slots(part, rows.index(row)) if row in rows else before[row]
        assert read_slots(out, row) == wanted
        assert read_slots(into, row) == before[row], "the assignment written into is left alone"
        assert out.position[row, len(wanted) :].eq(0).all()
    assert out.width == max(part.width, into.width)
    features = torch.randn(4, 14, 5)
    torch.testing.assert_close(out.apply(features), apply_by_loop(out, features).float())


def test_scatter_rows_may_widen() -> None:
    wide = keep("xxxx").scatter_rows([1], keep("x...", "...."))
    assert [read_slots(wide, row) for row in range(2)] == [[Slot([0], [1], 0)], [Slot([i], [1], i) for i in range(4)]]
    assert wide.position.shape == (2, 4)
