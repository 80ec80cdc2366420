"""Runs the fused kernels in Triton's interpreter, on cases from a file: Triton decides when it is imported.

Started by `test_attention_triton.py` with TRITON_INTERPRET=1 and HF_TOKCOMP_ATTENTION=triton: ``CASES RESULTS``.
"""

from __future__ import annotations

import sys
from typing import Any
from unittest import mock

import torch
from attention_reference import ALL, REDUCTIONS
from torch import Tensor

from hf_tokcomp.ops import attention
from hf_tokcomp.ops.attention import tiles as attention_blocks


def run(case: dict[str, Any]) -> dict[str, Tensor]:
    """All of `ALL` for a case. PyTorch is out of reach, so nothing but the kernels can have done it."""
    with mock.patch.multiple(attention_blocks, received=None, to_self=None):
        out = {what: attention.attention_received(**case, reduction=what) for what in REDUCTIONS}  # type: ignore[arg-type]
        out["self"] = attention.attention_to_self(**case)
    assert set(out) == set(ALL)
    return out


if __name__ == "__main__":
    cases = torch.load(sys.argv[1])
    torch.save({name: run(case) for name, case in cases.items()}, sys.argv[2])
