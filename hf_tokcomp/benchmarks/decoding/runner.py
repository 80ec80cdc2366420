"""Runner of the decoding benchmark: all candidates on all workloads for one model, in turns; returns a JSON dict."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from ...reporting.machine import machine
from ..baselines import BASELINES
from ..measure import Spread, in_turns
from ..speed.candidates import Candidate
from ..speed.clips import TooSlow, make_room
from ..speed.sounds import lengths_of
from ..speed.subject import Subject
from .bound import Rates, Step, bound
from .plan import DecodingPlan
from .streams import Heard, States, Streams


class DecodingBenchmark:
    """The measurements of one plan on one model whose decoder attends to its encoder.

    Args:
        plan: the plan.
        subject: the model.
        tell: called with a line of text when a measurement starts.
        save: called with the report so far after each workload.

    Raises:
        ValueError: the model cannot hear clips as long as the plan's; this is checked before it is loaded.
    """

    def __init__(
        self,
        plan: DecodingPlan,
        subject: Subject,
        tell: Callable[[str], None] = lambda line: None,
        save: Callable[[dict[str, Any]], None] = lambda report: None,
    ) -> None:
        self.plan, self.subject, self.tell, self.save = plan, subject, tell, save
        self.lengths = plan.lengths(subject)
        self.rows: list[dict[str, Any]] = []
        self.noise: list[dict[str, Any]] = []
        self.left_out: list[dict[str, Any]] = []
        self.report: dict[str, Any] = {
            "machine": machine(subject.device),
            "model": subject.about(),
            "plan": plan.to_dict() | {"audio_seconds": self.lengths},
            "rates": {},
            "rows": self.rows,
            "noise": self.noise,
            "left_out": self.left_out,
        }

    def run(self) -> dict[str, Any]:
        """Measure everything.

        Returns:
            ``rows``: a dict per candidate and workload; ``rates``: what the device reads and computes in a second;
            ``noise``: how far the two measurements of the uncompressed model are apart, per workload; ``left_out``:
            candidates, workloads and reasons; also the plan, the model and the machine.
        """
        plan = self.plan
        self.tell(f"{self.subject.name}: what the device reads and computes in a second")
        self.rates = Rates.measured(self.subject.device, self.subject.dtype)
        self.report["rates"] = self.rates.to_dict()
        for seconds in self.lengths:
            if plan.ragged:
                for audios in plan.batch_sizes:
                    self._measure(seconds, lengths_of(seconds, audios, True), [audios])
            else:
                # One window for all streams: the encoder does the same for each, and takes by far the longest.
                self._measure(seconds, [seconds], plan.batch_sizes)
        return self.report

    def _measure(self, seconds: float, lengths: Sequence[float], batch_sizes: Sequence[int]) -> None:
        """Measure the encoder with clips of these lengths, then the decoder with each number of streams."""
        self.tell(f"{self.subject.name}, {seconds:g} s: encoder")
        heard = Heard(self.subject, lengths)
        states = {candidate: heard.states(candidate) for candidate in self.plan.candidates}
        calls = {each: lambda each=each: heard.measure(each) for each in states}
        encoded = in_turns(calls, self.plan.seconds, 1)
        for audios in batch_sizes:
            self._decode(Streams(heard, states, audios // len(lengths)), seconds, audios, encoded)
            self.save(self.report)

    def _decode(self, streams: Streams, seconds: float, audios: int, encoded: dict[Candidate, Any]) -> None:
        where = f"{self.subject.name}, {audios} x {seconds:g} s"
        counted: dict[Candidate, Step] = {}
        for candidate in streams.states:
            self.tell(f"{where}: {candidate.key}")
            try:
                counted[candidate] = streams.count(candidate, self.plan.limit)
            except (TooSlow, RuntimeError, ValueError) as error:  # one failure must not end hours of measurements
                entry = {"candidate": candidate.key, "seconds": seconds, "batch_size": audios}
                self.left_out.append(entry | {"reason": str(error).splitlines()[0].rstrip(".")})
                make_room(self.subject.device)
        self.tell(f"{where}: {len(counted)} in turns")
        calls = {each: lambda each=each: streams.measure(each, self.plan.new_tokens) for each in counted}
        rounds = in_turns(calls, self.plan.seconds, self.plan.rounds + 1) if counted else {}
        own = []
        for each, step in counted.items():
            own.append(self._row(each, step, seconds, audios, streams.states[each], encoded[each], rounds[each]))
        self._compare(own, counted)
        self.rows += own

    def _row(
        self,
        candidate: Candidate,
        step: Step,
        seconds: float,
        audios: int,
        states: States,
        encoded: Sequence[dict[str, float]],
        decoded: Sequence[dict[str, float]],
    ) -> dict[str, Any]:
        decoded = decoded[1:]  # the first round is thrown away
        times = audios // len(states.tokens_after)
        return {
            "candidate": candidate.label,
            "retention_ratio": candidate.ratio,
            "seconds": seconds,
            "batch_size": audios,
            "windows": len(states.tokens_after),
            "rounds": len(decoded),
            "tokens_before": [n for n in states.tokens_before for _ in range(times)],
            "tokens_after": [n for n in states.tokens_after for _ in range(times)],
            "step": step.to_dict(),
            "cross_bytes_per_stream": step.cross_bytes / audios,
            "self_bytes_per_stream": step.self_bytes / audios,
            **{name: asdict(Spread.of([each[name] for each in encoded])) for name in ("encoder", "compressor")},
            **{name: asdict(Spread.of([each[name] for each in decoded])) for name in ("first", "token")},
            "times_none": None,
            "first_times_none": None,
            "bound": None,
        }

    def _compare(self, rows: Sequence[dict[str, Any]], counted: dict[Candidate, Step]) -> None:
        """Put what a row gains over the mean of both uncompressed ones into it, and note how far those are apart."""
        plain = [row for row in rows if row["candidate"] in BASELINES]
        if not plain:
            return
        means = {name: statistics.mean(row[name]["median"] for row in plain) for name in ("token", "first")}
        none = next(step for candidate, step in counted.items() if candidate.label in BASELINES)
        for row, step in zip(rows, counted.values(), strict=True):
            row["times_none"] = means["token"] / row["token"]["median"]
            row["first_times_none"] = means["first"] / row["first"]["median"]
            if row["candidate"] not in BASELINES:
                allowed = bound(none, step, self.rates)
                row["bound"] = allowed.to_dict() | {"reached": row["times_none"] / allowed.times_none}
        if len(plain) > 1:
            values = [row["token"]["median"] for row in plain]
            apart = (max(values) - min(values)) / means["token"]
            self.noise.append({name: plain[0][name] for name in ("seconds", "batch_size")} | {"apart": apart})
