"""Runner of the serving benchmark: `none`, every compression, and `none` again, each in an engine of its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...evaluation.plan import Run
from ...reporting.machine import machine
from ...serving.vllm import engine_args
from ..speed.sounds import draw_sound
from .bounds import blocks_needed, most_at_once, speedup_allowed
from .clients import Answered, arriving, at_fixed, at_once, in_time, latencies, poisson_times, rate_of
from .plan import ServingPlan
from .ratios import compare
from .subject import ServedModel, tokens_of
from .work import Weightless

BURSTS = 4
"""Bursts of requests at most, each smaller by one, until one ran without a preemption."""
ALONE = 3
"""Requests on their own, whose median is the time that an idle server takes."""


class ServingBenchmark:
    """The measurements of one plan on one model.

    Args:
        plan: the plan.
        model: the model.
        dtype: precision of the engine, as vLLM names it.
        tell: called with a line of text when a measurement starts.
        save: called with the report so far after each measurement.

    Raises:
        ValueError: the model cannot read clips as long as the plan's.
    """

    def __init__(
        self,
        plan: ServingPlan,
        model: ServedModel,
        dtype: str = "auto",
        tell: Callable[[str], None] = lambda line: None,
        save: Callable[[dict[str, Any]], None] = lambda report: None,
    ) -> None:
        self.plan, self.model, self.tell, self.save = plan, model, tell, save
        self.seconds = model.seconds(plan.audio_seconds)
        self.audio = model.audio(self.seconds)
        self.tokens = tokens_of(model.patch, self.audio)
        self.engines = [(label, run, self._arguments(run, dtype)) for label, run in plan.engines]
        self.shapes = Weightless(model.config, model.patch)
        self.rows: list[dict[str, Any]] = []
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.report: dict[str, Any] = {
            "engine": "vllm",
            "machine": machine(device),
            "model": {"name": model.name, **model.facts, "parameters": self.shapes.parameters},
            "plan": plan.to_dict() | {"audio_seconds": self.seconds},
            "rows": self.rows,
            "noise": {},
        }

    async def run(self) -> dict[str, Any]:
        """Measure everything.

        Returns:
            ``rows``: a dict per engine, in the order in which they ran; ``noise``: how far the two measurements of
            `none` are apart, by concurrency; also the plan, the model and the machine.
        """
        from .engine import VERSION, serving

        self.report["machine"]["versions"]["vllm"] = VERSION
        clip = draw_sound(self.seconds, self.model.rate)
        with self.model.folder() as folder:
            for label, run, arguments in self.engines:
                self.tell(f"{self.model.name}, {_name(label, run)}: starting vLLM")
                begin = time.perf_counter()
                async with serving(folder, arguments, self.model.prompt, clip, self.plan.new_tokens) as server:
                    row = {"candidate": label, "retention_ratio": None if run.config.method == "none" else run.ratio}
                    row |= {"start_seconds": time.perf_counter() - begin, **server.about()}
                    await self._measure(server, row, run)
        return self.report

    def _arguments(self, run: Run, dtype: str) -> dict[str, Any]:
        """Keywords of the engine that serves a run."""
        plan, prompt = self.plan, self.model.prompt
        # Every token of a text has a byte at least: room for the longest request, and not for the model's longest.
        text = len(prompt.encode() if isinstance(prompt, str) else prompt)
        usual = {"dtype": dtype, "max_model_len": self.tokens + text + plan.new_tokens, **self.model.engine}
        blocks = {} if plan.kv_blocks is None else {"num_gpu_blocks_override": plan.kv_blocks}
        return usual | blocks | engine_args(run.config) | dict(plan.engine)

    async def _measure(self, server: Any, row: dict[str, Any], run: Run) -> None:
        plan, name = self.plan, f"{self.model.name}, {_name(row['candidate'], run)}"
        first, *_ = await at_fixed(server.ask, 1, 1)
        row |= self._sizes(row, run, first.prompt_tokens)
        self.rows.append(row)
        self.tell(f"{name}: all at once")
        row["at_once"] = await self._at_once(server, min(row["at_once_bound"], row["max_num_seqs"]) + 1)
        alone = statistics.median(each.last - each.sent for each in await at_fixed(server.ask, ALONE, 1))
        row["alone"] = alone
        self._keep()
        for clients in plan.concurrency:
            self.tell(f"{name}: {plan.requests} requests, {clients} at a time")
            answered = await at_fixed(server.ask, plan.requests, clients)
            row["fixed"].append({"concurrency": clients, **self._speed(answered)})
            self._keep()
        for factor in plan.arrivals:
            rate = factor * self._capacity()
            self.tell(f"{name}: {plan.requests} requests, {rate:.3g} a second")
            answered = await arriving(server.ask, poisson_times(rate, plan.requests))
            asked = {"factor": factor, "rate": rate, "in_time": in_time(answered, alone)}
            row["arrivals"].append({**asked, **self._speed(answered)})
            self._keep()

    def _sizes(self, row: dict[str, Any], run: Run, prompt: int) -> dict[str, Any]:
        """What follows from the lengths of prompt and answer."""
        plan, patch = self.plan, self.model.patch
        slots = run.config.output_length(self.tokens, patch.frame_rate)
        tokens, size = prompt + plan.new_tokens, row["block_size"]
        operations = self.shapes.operations(self.audio, slots, prompt, plan.new_tokens, run.config.encoder)
        before = self.rows[0]["operations"] if self.rows else operations
        return {
            "audio_tokens": slots,
            "prompt_tokens": prompt,
            "blocks_per_request": blocks_needed(tokens, size),
            "at_once_bound": most_at_once(row["kv_blocks"], tokens, size),
            "operations": operations,
            "bound": speedup_allowed(before, operations),
            "at_once": None,
            "alone": None,
            "fixed": [],
            "arrivals": [],
        }

    async def _at_once(self, server: Any, requests: int) -> int | None:
        """The most requests that ran at once, of as many as did so without a preemption; None if there were none."""
        for number in range(requests, max(0, requests - BURSTS), -1):
            prepared = [await server.prepared() for _ in range(number)]
            server.steps.clear()
            await at_once(server.ask, prepared)
            if not server.steps.preempted:
                return int(server.steps.most_running)
        return None

    def _speed(self, answered: Sequence[Answered]) -> dict[str, Any]:
        rate = rate_of(answered)
        speed = {
            "requests": len(answered),
            "requests_per_second": rate,
            "audio_seconds_per_second": rate * self.seconds,
        }
        return speed | latencies(answered)

    def _capacity(self) -> float:
        """Requests per second of the first engine, which serves `none`, at the highest concurrency."""
        highest = max(self.rows[0]["fixed"], key=lambda one: one["concurrency"])
        return float(highest["requests_per_second"])

    def _keep(self) -> None:
        self.report["noise"] = compare(self.rows)
        self.save(self.report)


def _name(label: str, run: Run) -> str:
    return label if run.ratio in (None, 1) else f"{label} at {run.ratio:g}"
