"""The serving benchmark's arithmetic and clients; what a server does is tested in tests/serving/test_vllm_bench.py."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from hf_tokcomp.benchmarks.serving.bounds import blocks_needed, most_at_once, speedup_allowed
from hf_tokcomp.benchmarks.serving.clients import (
    Answered,
    arriving,
    at_fixed,
    at_once,
    in_time,
    latencies,
    poisson_times,
    rate_of,
)
from hf_tokcomp.benchmarks.serving.ratios import compare


@pytest.mark.parametrize(
    ("tokens", "needed", "most"), [(1, 1, 63), (32, 1, 63), (33, 2, 31), (784, 25, 2), (2016, 63, 1), (2017, 64, 0)]
)
def test_one_block_is_never_given_away(tokens: int, needed: int, most: int) -> None:
    assert blocks_needed(tokens, 32) == needed
    assert most_at_once(64, tokens, 32) == most


def test_the_operations_of_a_whole_request_bound_the_throughput() -> None:
    before = {"encoder": 10.0, "projector": 1.0, "prefill": 60.0, "decode": 9.0}
    after = {"encoder": 10.0, "projector": 0.25, "prefill": 14.75, "decode": 7.0}
    assert speedup_allowed(before, after) == pytest.approx(80 / 32)
    assert speedup_allowed(before, before) == 1


def test_arrivals_are_a_poisson_process_of_this_rate() -> None:
    times = poisson_times(5.0, 20000, seed=1)
    gaps = np.diff(times)
    assert times[0] == 0
    assert gaps.mean() == pytest.approx(0.2, rel=0.03)
    assert gaps.std() == pytest.approx(0.2, rel=0.03), "exponential: as wide as its mean"
    assert poisson_times(5.0, 50, seed=1) == times[:50], "the same seed, the same times"
    assert poisson_times(5.0, 50, seed=2) != times[:50]
    assert poisson_times(10.0, 50, seed=1) == pytest.approx([at / 2 for at in times[:50]])


def test_times_are_from_the_moment_a_request_was_due() -> None:
    answered = [Answered(float(i), i + 0.5, i + (9.0 if i == 99 else 2.0), 7) for i in range(100)]
    found = latencies(answered)
    assert found["first_token"] == pytest.approx({"median": 0.5, "p99": 0.5})
    assert found["end_to_end"]["median"] == 2
    assert 2 < found["end_to_end"]["p99"] < 9
    assert rate_of(answered) == pytest.approx(100 / 108)
    # The last request is due at 99; on its own it would be answered at 101.
    assert in_time(answered, alone=2.0) == 99
    assert in_time(answered, alone=0.0) == 98


class Idle:
    """Answers every request after the same time, however many there are, and counts them."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.running, self.most, self.given = seconds, 0, 0, list[Any]()

    async def ask(self, due: float, prepared: Any = None) -> Answered:
        self.given.append(prepared)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(self.seconds)
        self.running -= 1
        now = time.perf_counter()
        return Answered(due, now, now, 1)


def test_so_many_requests_at_a_time() -> None:
    for requests, clients in ((7, 1), (7, 3), (2, 5)):
        server = Idle(0.01)
        assert len(asyncio.run(at_fixed(server.ask, requests, clients))) == requests
        assert server.most == min(requests, clients)
    server = Idle(0.01)
    assert len(asyncio.run(at_once(server.ask, ["a", "b", "c"]))) == 3
    assert (server.most, server.given) == (3, ["a", "b", "c"])


def test_arrivals_do_not_wait_for_answers() -> None:
    server = Idle(0.3)
    answered = asyncio.run(arriving(server.ask, [0.0, 0.05, 0.1]))
    assert server.most == 3
    due = [each.sent - answered[0].sent for each in answered]
    assert due == pytest.approx([0.0, 0.05, 0.1])
    assert all(each.first - each.sent >= 0.299 for each in answered)


def row(candidate: str, *speeds: float) -> dict[str, Any]:
    """A row with throughputs at 1, 2, ... requests at a time."""
    fixed = [{"concurrency": n, "requests_per_second": speed} for n, speed in enumerate(speeds, 1)]
    return {"candidate": candidate, "fixed": fixed}


def test_ratios_are_to_the_mean_of_first_and_last() -> None:
    rows = [row("none", 4.0, 10.0), row("ltbm", 10.0, 30.0)]
    assert compare(rows) == {}
    assert [one["times_none"] for one in rows[1]["fixed"]] == [2.5, 3.0], "of the first, until there is a last"
    rows.append(row("none, again", 6.0))
    assert compare(rows) == {"1": pytest.approx(0.4)}
    assert [one["times_none"] for each in rows for one in each["fixed"]] == pytest.approx([0.8, 1, 2, 3, 1.2])
