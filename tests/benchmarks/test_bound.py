"""The bound, by hand."""

from __future__ import annotations

import pytest

from hf_tokcomp.benchmarks.speed.bound import bound

SECONDS = {"features": 2.0, "encoder": 10.0, "compressor": 0.0, "projector": 1.0, "prefill": 27.0}
BEFORE = {"encoder": 100.0, "compressor": 0.0, "projector": 8.0, "prefill": 900.0}
AFTER = {"encoder": 50.0, "compressor": 70.0, "projector": 2.0, "prefill": 300.0}


def test_phases_shrink_with_their_operations() -> None:
    found = bound(SECONDS, BEFORE, AFTER)
    assert found.seconds == pytest.approx(2 + 5 + 0.25 + 9)
    assert found.speedup == pytest.approx(40 / 16.25)
    assert (found.floor_seconds, found.floor_speedup) == (None, None)


@pytest.mark.parametrize(("decode", "prefill"), [(4.0, 9.0), (12.0, 12.0), (99.0, 27.0)])
def test_a_prefill_takes_a_step_of_decoding_at_least(decode: float, prefill: float) -> None:
    found = bound(SECONDS, BEFORE, AFTER, decode)
    assert found.seconds == pytest.approx(16.25)
    assert found.floor_seconds == pytest.approx(2 + 5 + 0.25 + prefill)
    assert found.floor_speedup == pytest.approx(40 / (7.25 + prefill))


def test_without_compression_there_is_nothing_to_gain() -> None:
    same = bound(SECONDS, BEFORE, BEFORE, 3.0)
    assert same.speedup == same.floor_speedup == pytest.approx(1)
