"""Attention received equals the textbook: full matrices, one head at a time, in float64; and holds no such matrix."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attention_reference import ALL, REDUCTIONS, assert_right, matrices, reduced
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hf_tokcomp.ops.attention import attention_received, attention_to_self

HEADS, DIM = 3, 12
LENGTHS = [17, 0, 1, 9, 12]
SCALE = (DIM // HEADS) ** -0.5
BLOCKS = [None, 1, 40, 300, 10**9]  # one query of one head, two, six of all heads, everything


@pytest.fixture(autouse=True)
def _in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKCOMP_ATTENTION", "torch")


def states(positions: int = 17, padding: float = 0.0, dtype: Any = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys of a ragged batch of windows, and their lengths."""
    generator = torch.Generator().manual_seed(0)
    query, key = (2 * torch.randn(len(LENGTHS), positions, DIM, generator=generator) for _ in range(2))
    for row, n in enumerate(LENGTHS):
        query[row, n:], key[row, n:] = padding, padding
    return query.to(dtype), key.to(dtype), torch.tensor(LENGTHS)


def run(
    what: str, query: Tensor, key: Tensor, lengths: Tensor, heads: int = HEADS, scale: float = SCALE, **options: Any
) -> Tensor:
    if what == "self":
        return attention_to_self(query, key, lengths, heads=heads, scale=scale, **options)
    return attention_received(query, key, lengths, heads=heads, scale=scale, reduction=what, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("what", ALL)
def test_equals_the_full_matrix(what: str, block: int | None) -> None:
    query, key, lengths = states()
    assert_right(run(what, query, key, lengths, block=block), query, key, LENGTHS, HEADS, SCALE, what)


@pytest.mark.parametrize("what", ALL)
def test_any_number_of_heads_and_positions(what: str) -> None:
    generator = torch.Generator().manual_seed(1)
    for heads, size, positions in ((1, 5, 6), (7, 2, 11), (4, 16, 2), (2, 3, 1)):
        query, key = (torch.randn(2, positions, heads * size, generator=generator) for _ in range(2))
        lengths = [positions, positions - 1]
        out = run(what, query, key, torch.tensor(lengths), heads, 0.7, block=2 * positions * positions)
        assert_right(out, query, key, lengths, heads, 0.7, what)


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("shape", [(0, 5), (2, 0)])
def test_nothing_in_nothing_out(what: str, shape: tuple[int, int]) -> None:
    empty = torch.zeros(*shape, DIM)
    out = run(what, empty, empty, torch.zeros(shape[0], dtype=torch.long))
    assert out.shape == (shape[0], shape[1] // 2 if what == "self" else shape[1])


def test_mean_is_what_one_gets_without_asking() -> None:
    query, key, lengths = states()
    default = attention_received(query, key, lengths, heads=HEADS, scale=SCALE)
    assert torch.equal(default, run("mean", query, key, lengths))


def test_an_unknown_reduction_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'sum' is unknown; use one of mean, max, peak"):
        run("sum", *states())


@pytest.mark.parametrize("block", [1, 10**9])
def test_its_mean_over_a_window_is_one(block: int) -> None:
    out = run("mean", *states(), block=block)
    for row, n in enumerate(LENGTHS):
        assert out[row].sum().item() == pytest.approx(n, rel=1e-5)


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("padding", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("block", [1, 10**9])
def test_padding_does_not_matter(what: str, padding: float, block: int) -> None:
    clean = run(what, *states(), block=block)
    assert torch.equal(run(what, *states(padding=padding), block=block), clean)
    wider = states(positions=23, padding=padding)  # another draw, whose first windows are longer
    assert run(what, *wider, block=block)[:, 9 if what == "self" else 17 :].eq(0).all()


@pytest.mark.parametrize("what", ALL)
def test_padding_that_an_encoder_does_not_mask_is_attended_to(what: str) -> None:
    query, key, lengths = states(padding=0.5)
    seen = [min(17, n + 4) for n in LENGTHS]
    out = run(what, query, key, lengths, seen=torch.tensor(seen))
    for row, (n, m) in enumerate(zip(LENGTHS, seen, strict=True)):
        whole = matrices(query[row, :m], key[row, :m], HEADS, SCALE, mute=tuple(range(n, m)))
        expected = reduced(whole, what)
        torch.testing.assert_close(out[row, : len(expected)].double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("what", ALL)
def test_a_window_equals_itself_alone(what: str) -> None:
    query, key, lengths = states(padding=5.0)
    out = run(what, query, key, lengths)
    for row, n in enumerate(LENGTHS):
        one = slice(row, row + 1)
        assert torch.equal(run(what, query[one], key[one], lengths[one])[0], out[row]), "bit for bit"
        short = run(what, query[one, :n], key[one, :n], lengths[one])[0]
        torch.testing.assert_close(short, out[row, : len(short)])


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_scored_in_float32(what: str, dtype: torch.dtype) -> None:
    query, key, lengths = states(dtype=dtype)
    # Held against the rounded states, not the exact ones: nothing is lost after the projection.
    assert_right(run(what, query, key, lengths), query, key, LENGTHS, HEADS, SCALE, what)


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("factor", [100.0, 1e12])
def test_large_scores_do_not_overflow(what: str, factor: float) -> None:
    query, key, lengths = states()
    out = run(what, factor * query, factor * key, lengths)
    assert out.isfinite().all()
    assert out[0].sum().item() > 0
    if what == "mean":
        assert out[0].sum().item() == pytest.approx(17, rel=1e-5)


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e25])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_spoilt_query_or_key_spoils_nothing_else(what: str, value: float, dtype: torch.dtype) -> None:
    """It counts as padding, in whatever head it is: the others get what they get without it."""
    query, key, lengths = states(dtype=dtype)
    bad_query, bad_key = query.clone(), key.clone()
    bad_query[0, 4, DIM - 1] = value
    bad_key[0, 11, 0] = value
    out = run(what, bad_query, bad_key, lengths)
    attention = matrices(query[0], key[0], HEADS, SCALE, spoilt=(11,), mute=(4,))
    torch.testing.assert_close(out[0].double(), reduced(attention, what), rtol=1e-5, atol=1e-6)
    assert torch.equal(out[1:], run(what, query, key, lengths)[1:])


@pytest.mark.parametrize("what", ALL)
def test_a_window_with_nothing_but_nan_is_zero(what: str) -> None:
    query, key, lengths = states()
    for bad_query, bad_key in ((True, True), (True, False), (False, True)):
        q, k = query.clone(), key.clone()
        if bad_query:
            q[0] = torch.nan
        if bad_key:
            k[0] = torch.nan
        out = run(what, q, k, lengths)
        assert out[0].eq(0).all()
        assert torch.equal(out[1:], run(what, query, key, lengths)[1:])


def test_gradients_are_not_asked_for() -> None:
    query, key, lengths = states()
    for what in ALL:
        assert not run(what, query.requires_grad_(), key, lengths).requires_grad


class Largest(TorchDispatchMode):
    """The largest tensor that any operation returns, in entries."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, Tensor):
                self.entries = max(self.entries, tensor.numel())
                self.operations += 1
        return out


def largest(call: Callable[[], object]) -> Largest:
    with Largest() as seen:
        call()
    return seen


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("queries_at_once", [1, 6])
def test_never_holds_a_matrix_for_all_heads(what: str, queries_at_once: int) -> None:
    windows, positions, heads, dim = 2, 80, 4, 16
    query, key = torch.randn(windows, positions, dim), torch.randn(windows, positions, dim)
    block = heads * positions * queries_at_once
    seen = largest(lambda: run(what, query, key, torch.tensor([80, 50]), heads, 1.0, block=block))
    assert seen.operations >= windows * positions // queries_at_once // heads, "the operations were not seen"
    assert seen.entries <= max(block, query.numel()) < windows * positions * positions


@pytest.mark.parametrize("what", ALL)
def test_memory_grows_with_the_positions_and_not_with_their_square(what: str) -> None:
    dim, sizes = 8, {}
    for positions in (256, 512, 1024):
        query, key = torch.randn(2, positions, dim), torch.randn(2, positions, dim)
        lengths = torch.tensor([positions, positions - 100])
        sizes[positions] = largest(functools.partial(run, what, query, key, lengths, 2, 1.0, block=2048)).entries
    assert sizes == {positions: dim * positions for positions in sizes}, "one window's states are the largest thing"


@pytest.mark.parametrize("what", REDUCTIONS)
def test_a_window_of_whisper_needs_less_than_one_head(what: str) -> None:
    """The default block, at 30 s and 20 heads: less than 1500 x 1500 scores at any time."""
    query, key = torch.randn(1, 1500, 20 * 8), torch.randn(1, 1500, 20 * 8)
    seen = largest(lambda: run(what, query, key, torch.tensor([1500]), 20, 1.0))
    assert seen.entries < 1500 * 1500 / 4


def test_autocast_leaves_the_scores_in_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(2, 30, 24, generator=generator) for _ in range(2))
    lengths = torch.tensor([30, 17])
    for function in (attention_received, attention_to_self):
        plain = function(query, key, lengths, heads=3, scale=0.3)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(function(query, key, lengths, heads=3, scale=0.3), plain)
