"""What the benchmarks share: meters on what is known, numbers as they are shown, and the machine's name."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_tokcomp.benchmarks import measure
from hf_tokcomp.benchmarks.measure import Spread, in_turns, most_held, peak_bytes, power
from hf_tokcomp.reporting import pages
from hf_tokcomp.reporting.machine import machine, processor

CPU = torch.device("cpu")
MIB = 1 << 20


# Memory


def one_after_the_other() -> None:
    for _ in range(5):
        torch.empty(MIB, dtype=torch.uint8)


def together() -> list[torch.Tensor]:
    held = [torch.empty(MIB, dtype=torch.uint8) for _ in range(3)]
    del held[0]
    return [*held, torch.empty(MIB // 2, dtype=torch.uint8)]


def released_before_the_next() -> torch.Tensor:
    first = torch.zeros(MIB // 4)
    second = first + 1
    del first
    return second * 2


def inside_an_operation() -> None:
    torch.ones(MIB // 8, dtype=torch.float64).view(2, -1).sort(dim=1, stable=True)


@pytest.mark.parametrize(
    ("call", "least", "most"),
    [
        (lambda: None, 0, 0),
        (one_after_the_other, 1.0, 1.0),
        (together, 3.0, 3.0),
        (released_before_the_next, 2.0, 2.0),
        (inside_an_operation, 3.0, 6.0),  # the values, the sorted ones and their places; the rest is torch's own
    ],
)
def test_peak_of_known_allocations(call: Callable[[], Any], least: float, most: float) -> None:
    found = peak_bytes(call, CPU) / MIB
    assert least <= found <= most + 0.001  # an operation's scalars count, too


def test_memory_from_before_the_call_does_not_count() -> None:
    held = [torch.empty(8 * MIB, dtype=torch.uint8)]

    def call() -> torch.Tensor:
        held.clear()
        return torch.empty(MIB, dtype=torch.uint8)

    assert peak_bytes(call, CPU) == MIB


def test_most_held_goes_by_time_and_address() -> None:
    assert most_held([(3, 1, -10), (1, 1, 10), (2, 2, 5), (4, 3, 7), (0, 9, -100)]) == 15
    assert most_held([]) == 0


# Time


def test_calls_take_turns_and_every_round_begins_with_another() -> None:
    order: list[str] = []

    def call(name: str) -> Callable[[], int]:
        return lambda: order.append(name) or len(order)  # type: ignore[func-returns-value]

    results = in_turns({name: call(name) for name in "abc"}, seconds=0)
    assert "".join(order) == "abc" + "bca" + "cab"
    assert results == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}
    assert in_turns({"a": lambda: 0}, seconds=0, rounds=5) == {"a": [0] * 5}


def test_repeats_fill_the_time() -> None:
    start = time.perf_counter()
    results = in_turns({"a": lambda: time.sleep(0.01), "b": lambda: 0.0}, seconds=0.3)
    assert len(results["a"]) == len(results["b"]) > measure.FEWEST
    assert 0.3 <= time.perf_counter() - start < 3


def test_spread() -> None:
    assert Spread.of([5.0, 1.0, 3.0, 100.0]) == Spread(4.0, 1.0, 100.0)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.7, 2.0])
def test_power(exponent: float) -> None:
    lengths = [30, 150, 600]
    assert power(lengths, [3e-4 * n**exponent for n in lengths]) == pytest.approx(exponent)
    noisy = [2 * n**exponent * factor for n, factor in zip(lengths, (1.1, 0.9, 1.1), strict=True)]
    assert power(lengths, noisy) == pytest.approx(exponent, abs=0.1)


# What is shown


def test_numbers_are_short() -> None:
    assert [pages.number(x) for x in (1234.56, 99.96, 12.34, 1.234, 0.001)] == [
        "1235",
        "100.0",
        "12.3",
        "1.23",
        "0.00",
    ]
    assert [pages.percent(x) for x in (3.14159, 0.5, 0.0123, 0.00004, 0.000001)] == [
        "314",
        "50",
        "1.2",
        "0.004",
        "<0.001",
    ]


def test_the_processor_is_named(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Abacus 3000\n", encoding="utf-8")
    assert processor(info) == "Abacus 3000"
    assert processor(tmp_path / "missing")
    assert machine(CPU)["gpu"] is None
