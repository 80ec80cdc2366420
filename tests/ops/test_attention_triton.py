"""The fused kernels equal the full matrices in Triton's interpreter, and compile for the GPUs they are meant for.

No GPU is needed. What only a GPU can show, speed, is not tested.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from attention_reference import ALL, assert_right, matrices, reduced
from packaging.version import Version
from places import HELPERS, ROOT
from torch import Tensor

triton = pytest.importorskip("triton", reason="Triton is not there, as everywhere but on Linux with x86-64")

HALF, BRAIN, FULL = torch.float16, torch.bfloat16, torch.float32
# Type, heads, entries per head, lengths; the first is the longest. float32 takes 64 x 32 at a time, float16 128 x 64
# (64 x 64 for "peak"); 258 positions give some of the parts of "peak" two tiles and others none.
CASES: dict[str, tuple[torch.dtype, int, int, list[int]]] = {
    "float32, several blocks, an odd end": (FULL, 2, 16, [67, 0, 1, 33]),
    "float32, 80 entries": (FULL, 3, 80, [7, 6]),
    "float32, one position": (FULL, 1, 5, [1]),
    "float16, several blocks": (HALF, 2, 40, [131, 2]),
    "float16, 64 entries": (HALF, 1, 64, [20, 13]),
    "float32, several tiles in a part": (FULL, 1, 16, [258]),
    "bfloat16, many heads": (BRAIN, 5, 16, [9, 64]),
    "float64": (torch.float64, 2, 24, [5, 4]),
}
# Which queries and which keys of each window are spoilt: some, the last queries, the last keys, a whole tile of keys.
SPOILT = [([4], [11]), (range(30, 67), []), ([], range(30, 67)), ([], range(32))]
SPOILT_LENGTHS = [67, 67, 67, 40]


def drawn(dtype: torch.dtype, heads: int, size: int, lengths: list[int]) -> dict[str, Any]:
    """Arguments; the padding is NaN or huge, and there is some behind the longest, too."""
    generator = torch.Generator().manual_seed(size)
    shape = len(lengths), max(lengths) + 1, heads * size
    query, key = (1.5 * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    for row, n in enumerate(lengths):
        query[row, n:], key[row, n:] = (torch.nan, 6e4) if row % 2 == 0 else (6e4, torch.inf)
    return {
        "query": query.to(dtype),
        "key": key.to(dtype),
        "lengths": torch.tensor(lengths),
        "heads": heads,
        "scale": 0.9 * size**-0.5,
    }


def all_cases() -> dict[str, dict[str, Any]]:
    cases = {name: drawn(*case) for name, case in CASES.items()}
    cases["spoilt"] = drawn(FULL, 2, 16, SPOILT_LENGTHS)
    for window, (queries, keys) in enumerate(SPOILT):
        cases["spoilt"]["query"][window, list(queries), 3] = torch.nan
        cases["spoilt"]["key"][window, list(keys), 20] = torch.inf
    cases["large scores"] = drawn(FULL, 1, 16, [67])
    cases["large scores"]["scale"] = 100.0
    cases["nothing valid"] = drawn(FULL, 2, 16, [0, 0])
    cases["no key"] = drawn(FULL, 2, 16, [6, 6])
    cases["no key"]["key"][0] = torch.nan
    cases["no query"] = drawn(FULL, 2, 16, [6, 6])
    cases["no query"]["query"][0] = torch.nan
    cases["no window"] = drawn(FULL, 2, 16, [3])
    cases["no window"] |= {name: cases["no window"][name][:0] for name in ("query", "key", "lengths")}
    return cases


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """What the kernels make of all cases: one interpreter for all, since starting it takes longest."""
    if Version(triton.__version__) < Version("3.7"):
        pytest.skip("the interpreter of Triton before 3.7 fails with NumPy 2.4")
    folder = tmp_path_factory.mktemp("triton")
    torch.save(all_cases(), folder / "cases.pt")
    script = [sys.executable, "-W", "ignore", str(HELPERS / "interpret_attention.py")]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    forced = {"TRITON_INTERPRET": "1", "HF_TOKCOMP_ATTENTION": "triton", "PYTHONPATH": path}
    done = subprocess.run(
        [*script, str(folder / "cases.pt"), str(folder / "results.pt")],
        env=os.environ | forced,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "results.pt")


@pytest.mark.parametrize("what", ALL)
@pytest.mark.parametrize("name", CASES)
def test_equals_the_full_matrix(interpreted: Any, name: str, what: str) -> None:
    case = all_cases()[name]
    lengths = case["lengths"].tolist()
    assert_right(interpreted[name][what], case["query"], case["key"], lengths, case["heads"], case["scale"], what)


@pytest.mark.parametrize("what", ALL)
def test_a_spoilt_query_or_key_spoils_nothing_else(interpreted: Any, what: str) -> None:
    clean = drawn(FULL, 2, 16, SPOILT_LENGTHS)
    for row, (n, (queries, keys)) in enumerate(zip(SPOILT_LENGTHS, SPOILT, strict=True)):
        states = clean["query"][row, :n], clean["key"][row, :n]
        expected = reduced(matrices(*states, 2, clean["scale"], spoilt=tuple(keys), mute=tuple(queries)), what)
        out = interpreted["spoilt"][what][row, : len(expected)]
        torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("what", ALL)
def test_large_scores_do_not_overflow(interpreted: Any, what: str) -> None:
    """Hundreds apart, from tile to tile as well; only rounding of the scores themselves remains."""
    case = all_cases()["large scores"]
    expected = reduced(matrices(case["query"][0, :67], case["key"][0, :67], 1, 100.0), what)
    out = interpreted["large scores"][what][0, : len(expected)]
    torch.testing.assert_close(out.double(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("what", ALL)
def test_windows_without_anything_valid_are_zero(interpreted: Any, what: str) -> None:
    assert interpreted["nothing valid"][what].eq(0).all()
    assert interpreted["no window"][what].shape == (0, 2 if what == "self" else 4)
    for name in ("no key", "no query"):
        assert interpreted[name][what][0].eq(0).all()
        assert interpreted[name][what][1].gt(0).any()


GPUS = {"A100": 80, "H200": 90}
KERNELS = ("log_sums_kernel", "sum_heads_kernel", "sum_peaks_kernel")
TYPES = {"fp16": HALF, "bf16": BRAIN, "fp32": FULL}


def compiled(kernel_name: str, kind: str, capability: int, head_dim: int) -> Any:
    """A kernel as `_launch` starts it."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from hf_tokcomp.ops.attention import triton as attention_triton

    kernel = getattr(attention_triton, kernel_name)
    options = attention_triton.tile_options(TYPES[kind], head_dim, kernel is attention_triton.sum_peaks_kernel)
    launch = {name: options.pop(name) for name in ("num_warps", "num_stages")}
    given = "*i1" if kernel_name == "log_sums_kernel" else "*fp32"
    types = [f"*{kind}", f"*{kind}", given, "*fp32", "*i32", "i32", "i32", "i32", "fp32"]
    signature = dict(zip(kernel.arg_names, types + ["constexpr"] * len(options), strict=True))
    # The states and what belongs to them are aligned, and so is a head: torch sees to the one, models to the other.
    aligned = {(index,): [["tt.divisibility", 16]] for index in (0, 1, 2, 3, 4, 7)}
    source = ASTSource(kernel, signature, constexprs=options, attrs=aligned)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=launch)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("gpu", "kind", "head_dim"),
    [("H200", "bf16", 64), ("H200", "fp32", 64), ("H200", "fp16", 80), ("A100", "bf16", 64), ("A100", "fp16", 40)],
)
def test_compiles(
    gpu: str, kind: str, head_dim: int, kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To machine code, by the assembler that comes with Triton; in halves with the tensor cores in use."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    code = compiled(kernel, kind, GPUS[gpu], head_dim)
    assert len(code.asm["cubin"]) > 0
    assert code.metadata.shared <= {"A100": 163, "H200": 227}[gpu] * 1024
    product = {"A100": "mma.sync", "H200": "wgmma"}[gpu]
    assert (product in code.asm["ptx"]) == (kind != "fp32")
    assert "atom." not in code.asm["ptx"]
    assert "tf32" not in code.asm["ptx"]
