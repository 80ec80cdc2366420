"""Runner of the method benchmark over methods, workloads and ratios; returns a JSON dict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from hf_tokcomp.benchmarks.measure import Spread, in_turns, peak_bytes, power
from hf_tokcomp.compressors.base import AudioTokenCompressor
from hf_tokcomp.config.config import CompressionConfig
from hf_tokcomp.config.registry import Method, get_method, methods
from hf_tokcomp.errors import CompressionConfigError
from hf_tokcomp.reporting.machine import machine

from .clock import MethodClock
from .encoder import EncoderClock
from .plan import Plan
from .workload import Size, Workload

CHUNK_SECONDS = 30.0
FASTER = 0.1
"""A method grows faster than the encoder if its exponent is larger by more than this."""
PARTS = ("supply", "assign", "apply", "total")


class Benchmark:
    """The measurements of one plan.

    Args:
        plan: the plan.
        size: sizes of the models.
        tell: called with a line of text when a measurement starts.
        save: called with the report so far after each measurement.
    """

    def __init__(
        self,
        plan: Plan,
        size: Size | None = None,
        tell: Callable[[str], None] = lambda line: None,
        save: Callable[[dict[str, Any]], None] = lambda report: None,
    ) -> None:
        self.plan, self.size, self.tell, self.save = plan, size or Size(), tell, save
        self.device = torch.device(plan.device)
        self.dtype: torch.dtype = getattr(torch, plan.dtype)
        self.chosen = [get_method(name) for name in plan.methods] if plan.methods else list(methods().values())
        self.middle = sorted(plan.ratios)[len(plan.ratios) // 2]
        self.encoder = EncoderClock(self.size, self.device, self.dtype)
        self.rows: list[dict[str, Any]] = []
        self.left_out: list[dict[str, str]] = []
        self.report: dict[str, Any] = {
            "machine": machine(self.device),
            "plan": dataclasses.asdict(plan),
            "size": dataclasses.asdict(self.size),
            "encoder": self.encoder.how,
            "rows": self.rows,
            "growth": [],
            "left_out": self.left_out,
        }
        self._failed: set[str] = set()
        self._slowest: dict[str, tuple[float, int]] = {}

    def run(self) -> dict[str, Any]:
        """Measure everything.

        Returns:
            ``workloads``: seconds of audio and batch size; ``rows``: a dict per method, ratio and workload;
            ``growth``: a dict per method; ``left_out``: methods and reasons; also the plan, the sizes, the machine,
            and how the encoder was timed.
        """
        configs = {method.name: self._configs(method) for method in self.chosen}
        lengths = self._growth_lengths()
        cells = {(self.size.windows(d), b) for d in self.plan.durations for b in self.plan.batch_sizes}
        extra = {(windows, min(self.plan.batch_sizes)) for windows in lengths} - cells
        self.report["workloads"] = [[windows * self.size.window_seconds, audios] for windows, audios in sorted(cells)]
        for windows, audios in sorted(cells | extra, key=lambda cell: (cell[0] * cell[1], cell[0])):
            workload = Workload(self.size, windows, audios, self.device, self.dtype)
            for name, by_ratio in configs.items():
                wanted = by_ratio if (windows, audios) in cells else self._one_ratio(by_ratio)
                self._measure(name, wanted, workload)
        self.report["growth"] = self._growth(lengths)
        return self.report

    def _configs(self, method: Method) -> dict[float | None, CompressionConfig]:
        """A config per ratio; empty if the method cannot be created with default options."""
        ratios: Sequence[float | None] = self.plan.ratios if method.config_class.accepts_budget else [None]
        try:
            return {r: method.config_class() if r is None else method.config_class(retention_ratio=r) for r in ratios}
        except CompressionConfigError as error:
            self._leave_out(method.name, str(error))
            return {}

    def _one_ratio(self, configs: dict[float | None, CompressionConfig]) -> dict[float | None, CompressionConfig]:
        return {ratio: config for ratio, config in configs.items() if ratio in (self.middle, None)}

    def _leave_out(self, name: str, reason: str) -> None:
        self.left_out.append({"method": name, "reason": reason.rstrip(".")})

    def _measure(
        self, name: str, configs: dict[float | None, CompressionConfig], workload: Workload, chunked: bool = False
    ) -> None:
        """One row per config, measured alternately with the encoder."""
        if name in self._failed or not configs:
            return
        amount = workload.tokens * workload.audios
        key = f"{name} in chunks" if chunked else name
        seconds, before = self._slowest.get(key, (0.0, 1))
        where = f"{workload.seconds:g} s of audio, {workload.audios} at once"
        if seconds * amount / before > self.plan.limit:
            self._leave_out(name, f"{where}: over {self.plan.limit:g} s a call, judged by a shorter one")
            return
        self.tell(f"{key}, {where}")
        clocks, peaks = {}, {}
        for ratio, config in configs.items():
            try:
                clocks[ratio] = MethodClock(AudioTokenCompressor.from_config(config, self.size.width), workload)
                first = clocks[ratio].seconds()["total"] or 0.0  # otherwise discarded: first calls are slower
                if first > self.plan.limit:
                    self._slowest[key] = (first, amount)
                    self._leave_out(name, f"{where}: a call takes {first:.3g} s")
                    return
                peaks[ratio] = peak_bytes(clocks[ratio].seconds, self.device)
            except (ValueError, RuntimeError) as error:  # one failure must not end an hour of measurements
                self._failed.add(name)
                self._leave_out(name, f"{where}: {error}")
                return
        windows = workload.windows * workload.audios
        calls: dict[Any, Callable[[], Any]] = {ratio: clock.seconds for ratio, clock in clocks.items()}
        calls["encoder"] = lambda: self.encoder.seconds(windows)
        results = in_turns(calls, self.plan.seconds)
        encoder = Spread.of(results.pop("encoder"))
        slowest = 0.0
        for ratio, times in results.items():
            spreads = {
                part: None if times[0][part] is None else dataclasses.asdict(Spread.of([t[part] for t in times]))
                for part in PARTS
            }
            total = spreads["total"]["median"]  # type: ignore[index]
            slowest = max(slowest, total)
            self.rows.append(
                {
                    "method": name,
                    "chunk_seconds": configs[ratio].chunk_seconds,
                    "retention_ratio": ratio,
                    "seconds": workload.seconds,
                    "batch_size": workload.audios,
                    "tokens": workload.tokens,
                    "kept": clocks[ratio].counts,
                    "repeats": len(times),
                    **spreads,
                    "encoder": dataclasses.asdict(encoder),
                    "share": total / encoder.median,
                    "peak_bytes": peaks[ratio],
                }
            )
        self._slowest[key] = (slowest, amount)
        self.save(self.report)

    def _growth_lengths(self) -> list[int]:
        """Numbers of windows of the shortest, a middle and the longest audio; empty if there is only one length."""
        windows = [self.size.windows(seconds) for seconds in self.plan.durations]
        low, high = min(windows), max(windows)
        return sorted({low, math.ceil(math.sqrt(low * high)), high}) if low < high else []

    def _growth(self, lengths: list[int]) -> list[dict[str, Any]]:
        """Growth of time with length per method; also in chunks for methods that grow faster than the encoder."""
        found = []
        for method in self.chosen:
            rows = self._by_length(method.name, lengths, chunked=False)
            if len(rows) < 2:
                continue
            seconds = [row["seconds"] for row in rows]
            whole = power(seconds, [row["total"]["median"] for row in rows])
            own = power(seconds, [row["total"]["median"] - row["supply"]["median"] for row in rows])
            encoder = power(seconds, [row["encoder"]["median"] for row in rows])
            faster = max(whole, own) > encoder + FASTER
            entry = {"method": method.name, "exponent": whole, "own_exponent": own, "encoder_exponent": encoder}
            entry |= {"retention_ratio": rows[0]["retention_ratio"], "faster": faster, "chunked": []}
            if faster and method.config_class.accepts_chunks:
                config = method.config_class(retention_ratio=self.middle).replace(chunk_seconds=CHUNK_SECONDS)
                for windows in lengths:
                    workload = Workload(self.size, windows, min(self.plan.batch_sizes), self.device, self.dtype)
                    self._measure(method.name, {self.middle: config}, workload, chunked=True)
                entry["chunked"] = [
                    {"seconds": row["seconds"], "total": row["total"], "share": row["share"]}
                    for row in self._by_length(method.name, lengths, chunked=True)
                ]
            found.append(entry)
        return found

    def _by_length(self, name: str, lengths: list[int], chunked: bool) -> list[dict[str, Any]]:
        return [
            row
            for row in self.rows
            if row["method"] == name
            and row["batch_size"] == min(self.plan.batch_sizes)
            and row["retention_ratio"] in (self.middle, None)
            and (row["chunk_seconds"] is not None) == chunked
            and self.size.windows(row["seconds"]) in lengths
        ]
