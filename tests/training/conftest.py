from __future__ import annotations

import pytest
import threads
from kinds import kind, model, seconds

__all__ = ["kind", "model", "seconds"]


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums in one order: runs are compared, and Trainer's workers would fight over few cores."""
    with threads.one_thread():
        yield
