"""The measuring of imports: processor time of fresh processes, in turns."""

from __future__ import annotations

from recipes.import_time import measure


def test_what_computes_more_costs_more() -> None:
    idle, busy = "pass", "sum(range(20_000_000))"
    found = measure(1, (idle, busy))
    assert list(found) == [idle, busy]
    assert 0 < found[idle] < found[busy]


def test_waiting_costs_nothing() -> None:
    found = measure(1, ("pass", "import time; time.sleep(1)"))
    assert max(found.values()) < 0.9
