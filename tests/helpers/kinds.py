"""Fixtures of the tests that run for every kind of model."""

from __future__ import annotations

import pytest
import tiny
import torch


def ragged(kind):
    """Lengths of a ragged batch: with Audio Flamingo 3 one audio spans several windows."""
    return [0.9, 0.43, 0.05] if kind == "qwen2_audio" else [2.63, 0.5, 1.0]


@pytest.fixture(params=tiny.KINDS)
def kind(request):
    return request.param


@pytest.fixture
def model(kind):
    return tiny.model(kind)


@pytest.fixture
def seconds(kind):
    return ragged(kind)


@pytest.fixture(autouse=True)
def no_grad(request):
    """Most tests need no gradients; those marked `grad` do."""
    if request.node.get_closest_marker("grad"):
        yield
        return
    with torch.no_grad():
        yield
