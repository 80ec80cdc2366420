"""Which implementation computes attention received: by the device, by HF_TOKCOMP_ATTENTION, and when Triton fails."""

from __future__ import annotations

import sys
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from hf_tokcomp.ops import attention

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def _from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKCOMP_ATTENTION", raising=False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(attention, "_given_up", [])


@pytest.fixture
def no_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "hf_tokcomp.ops.attention.triton", raising=False)
    monkeypatch.delattr(attention, "triton", raising=False)


def received() -> Tensor:
    ones = torch.ones(1, 4, 4)
    return attention.attention_received(ones, ones, torch.tensor([4]), heads=1, scale=1.0)


def test_the_device_decides() -> None:
    pytest.importorskip("triton")
    assert attention._kernels(CPU) is None
    assert attention._kernels(GPU).__name__ == "hf_tokcomp.ops.attention.triton"


@pytest.mark.usefixtures("no_triton")
def test_without_triton_pytorch_does_it() -> None:
    assert attention._kernels(GPU) is None


def test_pytorch_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKCOMP_ATTENTION", "torch")
    assert attention._kernels(GPU) is None


@pytest.mark.usefixtures("no_triton")
def test_forcing_triton_where_it_is_missing_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKCOMP_ATTENTION", "triton")
    with pytest.raises(ValueError, match="pip install triton"):
        attention._kernels(GPU)


def test_forcing_triton_without_a_gpu_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKCOMP_ATTENTION", "triton")
    with pytest.raises(ValueError, match=r"on cpu. Unset HF_TOKCOMP_ATTENTION"):
        received()


def test_another_value_names_the_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKCOMP_ATTENTION", "flash")
    with pytest.raises(ValueError, match="set it to torch or triton, or unset it"):
        received()


class Broken:
    """Kernels that fail, as without a C compiler."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.tried = 0

    def received(self, *tensors: Tensor, **options: Any) -> Tensor:
        self.tried += 1
        raise self.error


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice as it would be on a GPU, the tensors where they are."""
    own = attention._kernels
    monkeypatch.setattr(attention, "_kernels", lambda device: own(GPU))


def install(monkeypatch: pytest.MonkeyPatch, kernels: Any) -> None:
    monkeypatch.setitem(sys.modules, "hf_tokcomp.ops.attention.triton", kernels)
    monkeypatch.setattr(attention, "triton", kernels, raising=False)


@pytest.mark.usefixtures("on_a_gpu")
def test_kernels_that_fail_are_told_of_once_and_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken(RuntimeError("Failed to find C compiler"))
    install(monkeypatch, broken)
    with pytest.warns(RuntimeWarning, match=r"find C compiler.*Set HF_TOKCOMP_ATTENTION=torch"):
        assert received().tolist() == [[1.0] * 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert received().tolist() == [[1.0] * 4]
    assert broken.tried == 1


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize(("forced", "error"), [("triton", RuntimeError), ("", torch.OutOfMemoryError)])
def test_failures_that_one_should_see(monkeypatch: pytest.MonkeyPatch, forced: str, error: type[Exception]) -> None:
    monkeypatch.setenv("HF_TOKCOMP_ATTENTION", forced)
    install(monkeypatch, Broken(error("on purpose")))
    with pytest.raises(error, match="on purpose"):
        received()


@pytest.mark.usefixtures("on_a_gpu")
def test_kernels_that_work_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def kernel(*tensors: Tensor, **options: Any) -> Tensor:
        seen.update(options, shapes=[tuple(tensor.shape) for tensor in tensors])
        return torch.full((1, 4), 7.0)

    install(monkeypatch, SimpleNamespace(received=kernel))
    assert received().tolist() == [[7.0] * 4]
    assert seen == {"heads": 1, "scale": 1.0, "reduction": "mean", "shapes": [(1, 4, 4), (1, 4, 4), (1, 4), (1, 4)]}
