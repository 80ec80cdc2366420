"""Fixtures of the recipes' tests. `recipes` itself is found because the root conftest.py stands beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import threads


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small are fastest on one, and their sums are the same in every run then."""
    with threads.one_thread():
        yield
