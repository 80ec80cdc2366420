"""MethodClock: the time of one method on one workload, by part."""

from __future__ import annotations

import time
from typing import Any

import torch

from hf_tokcomp.compressors.base import AudioTokenCompressor
from hf_tokcomp.inference.timing import wait_for

from .workload import Workload


class MethodClock:
    """Times one method on one workload, by part: supply, assign, apply.

    ``assign`` is None for a method that overrides `forward` and assigns nothing; everything then counts as ``apply``.

    Args:
        compressor: the method.
        workload: the workload.
    """

    def __init__(self, compressor: AudioTokenCompressor[Any], workload: Workload) -> None:
        self.compressor, self.workload = compressor.to(workload.device, workload.dtype).eval(), workload
        self.counts: list[int] = []
        self._assign_seconds: float | None = None
        assign = compressor.assign

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self._now()
            result = assign(*args, **kwargs)
            self._assign_seconds = self._now() - start
            return result

        compressor.assign = timed  # type: ignore[method-assign]
        workload.prepare(compressor.requires)

    @torch.inference_mode()
    def seconds(self) -> dict[str, float | None]:
        """The seconds of one call: supply, assign, apply, total."""
        self._assign_seconds = None
        start = self._now()
        tokens = self.workload.supply(self.compressor.requires)
        supplied = self._now()
        self.counts = self.compressor(tokens).counts
        end = self._now()
        assign = self._assign_seconds
        apply = end - supplied - (assign or 0)
        return {"supply": supplied - start, "assign": assign, "apply": apply, "total": end - start}

    def _now(self) -> float:
        wait_for(self.workload.device)
        return time.perf_counter()
