from __future__ import annotations

import pytest
import torch
from kinds import kind, model, seconds

__all__ = ["kind", "model", "seconds"]


@pytest.fixture(autouse=True)
def _no_grad(request):
    """Most tests need no gradients; those marked `grad` do."""
    if request.node.get_closest_marker("grad"):
        yield
        return
    with torch.no_grad():
        yield
