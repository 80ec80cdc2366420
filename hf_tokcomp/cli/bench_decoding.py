"""`hf-tokcomp bench` of a model whose decoder attends to its encoder: what compression saves in decoding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .bench_results import Results, tell
from .interrupted import keeping

if TYPE_CHECKING:
    from ..benchmarks.decoding.plan import DecodingPlan
    from ..benchmarks.speed.subject import Subject
    from ..evaluation.plan import Run


def plan_decoding(
    runs: Sequence[Run],
    audio_seconds: Sequence[float],
    batch_sizes: Sequence[int] | None,
    new_tokens: int,
    ragged: bool,
    rounds: int,
    seconds: float,
    limit: float,
) -> DecodingPlan:
    """The plan that the options describe.

    Raises:
        whatever `hf_tokcomp.benchmarks.decoding.plan.DecodingPlan` raises.
    """
    from ..benchmarks.decoding.plan import DecodingPlan

    return DecodingPlan(
        runs=runs,
        audio_seconds=audio_seconds,
        batch_sizes=DecodingPlan.batch_sizes if batch_sizes is None else batch_sizes,
        new_tokens=new_tokens,
        ragged=ragged,
        rounds=rounds,
        seconds=seconds,
        limit=limit,
    )


def measure_decoding(
    plan: DecodingPlan,
    subject: Subject,
    left_out: dict[str, str],
    output: Path | None,
    markdown: str | None,
    as_json: bool,
) -> None:
    """Measure, print and write.

    Raises:
        whatever `Results` and `hf_tokcomp.benchmarks.decoding.runner.DecodingBenchmark` raise.
    """
    from ..benchmarks.decoding import tables
    from ..benchmarks.decoding.runner import DecodingBenchmark

    results = Results(tables, output, markdown)
    with keeping(results.kept):
        report = DecodingBenchmark(plan, subject, tell, results.save).run()
    tell("")
    results.finish(report, left_out, as_json)
