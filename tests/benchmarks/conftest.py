"""Fixtures of the speed benchmark's tests: toy models with random weights."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import threads
import torch
from toy_sizes import TOY_SIZES, WHISPER

from hf_tokcomp.benchmarks.decoding import bound
from hf_tokcomp.benchmarks.measure import peak_bytes
from hf_tokcomp.benchmarks.speed import clips
from hf_tokcomp.benchmarks.speed.subject import Subject, random_subject
from hf_tokcomp.models.instance import active_config


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    with threads.one_thread():
        yield


@pytest.fixture(autouse=True, scope="package")
def _quick_peaks() -> Iterator[None]:
    """The profiler takes longer than a toy's call; tests that look at memory ask for `real_peaks`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, "peak_bytes", lambda call, device: 1 << 20)
        yield


@pytest.fixture(autouse=True, scope="package")
def _quick_rates() -> Iterator[None]:
    """A device's rates are measured with as little as they can be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bound, "MATRIX_BYTES", 1 << 16)
        yield


@pytest.fixture
def real_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak memory as it is measured."""
    monkeypatch.setattr(clips, "peak_bytes", peak_bytes)


@pytest.fixture(params=list(TOY_SIZES))
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """A toy of each kind; a test must leave it unpatched."""
    made = random_subject(request.param, TOY_SIZES[request.param], "cpu", torch.float32)
    yield made
    assert active_config(made.model) is None


@pytest.fixture
def flamingo() -> Subject:
    """A toy of the kind that reads long audio."""
    name = "audio-flamingo-3"
    return random_subject(name, TOY_SIZES[name], "cpu", torch.float32)


@pytest.fixture
def whisper() -> Iterator[Subject]:
    """A toy whose decoder attends to its encoder; a test must leave it unpatched."""
    made = random_subject("whisper", WHISPER, "cpu", torch.float32)
    yield made
    assert active_config(made.model) is None
