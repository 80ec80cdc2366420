"""Fixtures of all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import Hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A Hub on loopback of the test's own, and empty: `hub.run(code)`, `with hub.here():`, `hub.files(repo)`."""
    with Hub(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def hub_here(hub: Hub) -> Iterator[Hub]:
    """`hub`, with this very process's huggingface_hub pointed at it."""
    with hub.here():
        yield hub
