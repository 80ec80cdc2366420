"""Measures the cost of each method relative to the encoder: time by part, peak memory, growth with the length.

``python -m recipes.costs`` measures every registered method at the size of whisper-large-v3's encoder,
with random weights and synthetic tokens, so nothing is downloaded. docs/costs.md explains the tables.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from hf_tokcomp.errors import CompressionConfigError
from hf_tokcomp.hub.whole_files import write_whole
from hf_tokcomp.inference.devices import check_device
from hf_tokcomp.reporting.console import complain
from hf_tokcomp.reporting.options import DTYPES, parse_list
from hf_tokcomp.reporting.pages import check_place, fill_place, show, tell

from .plan import Plan
from .runner import Benchmark
from .tables import BEGIN, markdown, notes, tables
from .workload import Size


def main(arguments: Sequence[str] | None = None, size: Size | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: arguments without the program name; None for those of the process.
        size: sizes of the models; small ones in tests.
    """
    given = _parser().parse_args(arguments)
    try:
        if given.markdown is not None:
            check_place(given.markdown, BEGIN)
        report = Benchmark(_plan(given), size, tell, functools.partial(_save, given.json)).run()
    except (CompressionConfigError, ValueError, OSError, RuntimeError) as error:
        complain("error", error)
        return 1
    show(tables(report), notes(report))
    _save(given.json, report)
    if given.markdown is not None:
        fill_place(given.markdown, BEGIN, markdown(report))
    return 0


def _save(file: Path | None, report: dict[str, Any]) -> None:
    """Save a report, also during the run, so that nothing is lost if the run is interrupted."""
    if file is not None:
        write_whole(file, json.dumps(report, indent=2) + "\n")


def _plan(given: argparse.Namespace) -> Plan:
    device = check_device(given.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = given.dtype or ("float32" if device == "cpu" else "bfloat16")
    quick = given.quick
    batch_sizes = parse_list(given.batch_sizes or ("1" if quick else "1,8"), "--batch-sizes", int)
    durations = parse_list(given.durations, "--durations", float)
    ratios = parse_list(given.ratios or ("1/4" if quick else "1/2,1/4,1/10"), "--ratios", lambda x: float(Fraction(x)))
    if min(batch_sizes) < 1 or min(durations) <= 0:
        raise ValueError("--batch-sizes and --durations must be positive.")
    if not all(0 < ratio <= 1 for ratio in ratios):
        raise ValueError("--ratios must be above 0 and at most 1.")
    return Plan(
        methods=None if given.methods is None else parse_list(given.methods, "--methods", str),
        durations=durations,
        batch_sizes=batch_sizes,
        ratios=ratios,
        seconds=given.seconds if given.seconds is not None else 1.0 if quick else 10.0,
        limit=given.limit,
        device=device,
        dtype=dtype,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recipes.costs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--methods", metavar="A,B", help="default: all that are registered")
    parser.add_argument("--device", help="cpu, cuda, ...; default: a GPU if there is one")
    parser.add_argument("--dtype", choices=DTYPES, help="default: float32 on a CPU, bfloat16 elsewhere")
    parser.add_argument("--durations", metavar="S,S", default="30,600", help="seconds of audio; default: 30,600")
    parser.add_argument("--batch-sizes", metavar="N,N", help="audios at once; default: 1,8")
    parser.add_argument("--ratios", metavar="R,R", help="fractions of tokens kept; default: 1/2,1/4,1/10")
    parser.add_argument("--seconds", type=float, help="for a method on a workload, at least 3 rounds; default: 10")
    parser.add_argument(
        "--limit", type=float, default=60.0, help="skip a method where one call would take longer; default: 60 s"
    )
    parser.add_argument("--quick", action="store_true", help="one audio at once, a quarter of the tokens, 1 s each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--markdown", type=Path, metavar="PAGE", help="rewrite the tables between the page's markers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
