"""Clients of a server: all requests at once, a fixed number at a time, or at random times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Answered:
    """A request that was answered; times are seconds on one clock.

    Args:
        sent: when it was due.
        first: when the first token came.
        last: when the last token came.
        prompt_tokens: tokens of its prompt in the engine.
    """

    sent: float
    first: float
    last: float
    prompt_tokens: int


Ask = Callable[..., Awaitable[Answered]]
"""Sends a request that was due at a time of `time.perf_counter`, and waits for its answer; takes what was prepared for
it as a second argument."""


@dataclass(frozen=True)
class Latency:
    """Median and 99th percentile, in seconds."""

    median: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        return cls(*(float(value) for value in np.percentile(seconds, [50, 99])))


def latencies(answered: Sequence[Answered]) -> dict[str, Any]:
    """Time to the first token, and to the last."""
    return {
        "first_token": asdict(Latency.of([each.first - each.sent for each in answered])),
        "end_to_end": asdict(Latency.of([each.last - each.sent for each in answered])),
    }


def rate_of(answered: Sequence[Answered]) -> float:
    """Requests answered per second, from the first request to the last token of all."""
    return len(answered) / (max(each.last for each in answered) - min(each.sent for each in answered))


def in_time(answered: Sequence[Answered], alone: float) -> int:
    """How many requests had their answer when the last one would have it from an idle server.

    A server that keeps up has answered nearly all of them by then; one that does not still has a queue.

    Args:
        answered: the requests.
        alone: seconds that a request takes on its own.
    """
    end = max(each.sent for each in answered) + alone
    return sum(each.last <= end for each in answered)


def poisson_times(rate: float, requests: int, seed: int = 0) -> list[float]:
    """When requests arrive that know nothing of each other: seconds after the first one.

    Args:
        rate: requests per second, in the mean.
        requests: number of requests.
        seed: random seed; the same gives the same times, stretched by the rate.
    """
    gaps = np.random.default_rng(seed).exponential(1 / rate, requests)
    return [float(at) for at in np.cumsum(gaps) - gaps[0]]


async def at_once(ask: Ask, prepared: Sequence[Any]) -> list[Answered]:
    """All requests at once, with what was prepared for each."""
    now = time.perf_counter()
    return list(await asyncio.gather(*(ask(now, each) for each in prepared)))


async def at_fixed(ask: Ask, requests: int, concurrency: int) -> list[Answered]:
    """So many clients, each of which sends its next request when it has its answer."""
    left: Iterator[int] = iter(range(requests))

    async def client() -> list[Answered]:
        return [await ask(time.perf_counter()) for _ in left]

    found = await asyncio.gather(*(client() for _ in range(concurrency)))
    return [each for of_one in found for each in of_one]


async def arriving(ask: Ask, times: Sequence[float]) -> list[Answered]:
    """Requests at these times, whether or not those before them were answered."""
    begin = time.perf_counter()

    async def one(due: float) -> Answered:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        return await ask(due)

    return list(await asyncio.gather(*(one(begin + at) for at in times)))
