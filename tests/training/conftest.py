from __future__ import annotations

import pytest
import torch
from kinds import kind, model, seconds

__all__ = ["kind", "model", "seconds"]


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums in one order: runs are compared, and Trainer's workers would fight over few cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
