"""The plan of a serving benchmark, checked before an engine is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ...evaluation.plan import Run
from ...serving.vllm.served import check_servable
from ..baselines import between_baselines

ENGINE_SETS = ("model", "dtype", "num_gpu_blocks_override", "hf_overrides", "video_pruning_rate")
"""Keywords of vLLM's engine that the plan itself sets."""


@dataclass(frozen=True, kw_only=True)
class ServingPlan:
    """The plan of a serving benchmark.

    Args:
        runs: the compressions; `none` is measured before and after them in any case.
        audio_seconds: length of every clip; None for one window of the model's encoder.
        new_tokens: tokens of every answer.
        requests: requests of each measurement.
        concurrency: numbers of requests at a time.
        arrivals: rates of Poisson arrivals, as multiples of what the uncompressed server answers at the highest of
            `concurrency`.
        kv_blocks: blocks of the cache; None for as many as the engine finds room for.
        engine: more keywords for vLLM's engine.

    Raises:
        CompressionConfigError: vLLM cannot serve one of the compressions.
        ValueError: nothing can be measured this way.
    """

    runs: Sequence[Run]
    audio_seconds: float | None = None
    new_tokens: int = 64
    requests: int = 64
    concurrency: Sequence[int] = (1, 8, 32)
    arrivals: Sequence[float] = (0.5, 1.0, 1.5)
    kv_blocks: int | None = None
    engine: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for run in self.runs:
            check_servable(run.config)
        if self.audio_seconds is not None and not self.audio_seconds > 0:
            raise ValueError("The audio must be longer than 0 seconds.")
        if self.new_tokens < 1:
            raise ValueError("At least one token must be generated.")
        if not self.concurrency or min(self.concurrency) < 1:
            raise ValueError("At least one request must run at a time.")
        if any(not factor > 0 for factor in self.arrivals):
            raise ValueError("Requests must arrive at more than 0 times the capacity.")
        if self.requests < max(self.concurrency):
            raise ValueError(
                f"{self.requests} requests are fewer than {max(self.concurrency)} at a time; measure more requests, or "
                "a lower concurrency."
            )
        taken = [name for name in ENGINE_SETS if name in self.engine]
        if taken:
            raise ValueError(f"The benchmark itself sets {', '.join(taken)} of the engine; leave it out.")

    @property
    def engines(self) -> list[tuple[str, Run]]:
        """What is served, one engine after the other, each with its name in tables."""
        return between_baselines(self.runs)

    def to_dict(self) -> dict[str, Any]:
        """The plan as a dict, for a report."""
        values = {name: value for name, value in asdict(self).items() if name != "runs"}
        return {"runs": [run.key for _, run in self.engines]} | values
