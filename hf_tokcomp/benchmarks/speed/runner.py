"""Runner of the speed benchmark: all candidates on all workloads for one model, interleaved; returns a JSON dict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from ...reporting.machine import machine
from ..measure import Spread, in_turns
from .bound import bound
from .candidates import UNCOMPRESSED, Candidate
from .clips import Clips, Counted, TooSlow, make_room
from .growth import growth
from .phases import PHASES
from .plan import SpeedPlan
from .subject import Subject


class SpeedBenchmark:
    """The measurements of one plan on one model.

    Args:
        plan: the plan.
        subject: the model.
        tell: called with a line of text when a measurement starts.
        save: called with the report so far after each workload.

    Raises:
        ValueError: the model cannot read clips as long as the plan's; this is checked before it is loaded.
    """

    def __init__(
        self,
        plan: SpeedPlan,
        subject: Subject,
        tell: Callable[[str], None] = lambda line: None,
        save: Callable[[dict[str, Any]], None] = lambda report: None,
    ) -> None:
        self.plan, self.subject, self.tell, self.save = plan, subject, tell, save
        lengths = plan.lengths(subject)
        self.workloads = sorted((seconds, audios) for seconds in lengths for audios in plan.batch_sizes)
        self.rows: list[dict[str, Any]] = []
        self.left_out: list[dict[str, Any]] = []
        self.report: dict[str, Any] = {
            "machine": machine(subject.device),
            "model": subject.about(),
            "plan": plan.to_dict() | {"audio_seconds": lengths},
            "workloads": [list(workload) for workload in self.workloads],
            "rows": self.rows,
            "growth": [],
            "left_out": self.left_out,
        }
        self._slowest: dict[str, tuple[float, float]] = {}

    def run(self) -> dict[str, Any]:
        """Measure everything.

        Returns:
            ``rows``: a dict per candidate and workload; ``growth``: exponents per candidate; ``left_out``: candidates,
            workloads and reasons; also the plan, the model and the machine.
        """
        for seconds, audios in sorted(self.workloads, key=lambda workload: workload[0] * workload[1]):
            self._measure(Clips(self.subject, seconds, audios, self.plan.ragged and audios > 1))
        self.report["growth"] = growth(self.rows)
        return self.report

    def _measure(self, clips: Clips) -> None:
        where = f"{self.subject.name}, {clips.audios} x {clips.seconds:g} s"
        counted: dict[Candidate, Counted] = {}
        for candidate in self.plan.candidates:
            if candidate.together or clips.audios > 1 or candidate.way != "one by one":
                self.tell(f"{where}: {candidate.key}")
                found = self._count(clips, candidate)
                if found is not None:
                    counted[candidate] = found
        calls: dict[Any, Callable[[], Any]] = {
            together: lambda together=together: clips.features(together)  # type: ignore[misc]
            for together in {candidate.together for candidate in counted}
        }
        calls |= {each: lambda each=each: clips.measure(each, self.plan.new_tokens) for each in counted}  # type: ignore[misc]
        if counted:
            self.tell(f"{where}: {len(counted)} in turns")
            rounds = in_turns(calls, self.plan.seconds, self.plan.rounds + 1)
            measured = {each: _Measured(rounds[each][1:], rounds[each.together][1:], self.plan) for each in counted}
            self._add_rows(clips, counted, measured)
        self.save(self.report)

    def _count(self, clips: Clips, candidate: Candidate) -> Counted | None:
        """Count a candidate; None if it is skipped because it is too slow or runs out of memory."""
        amount = sum(clips.lengths)
        slowest, before = self._slowest.get(candidate.key, (0.0, 1.0))
        if slowest * amount / before > self.plan.limit:
            self._leave_out(clips, candidate, f"over {self.plan.limit:g} s a call, judged by a shorter one")
            return None
        try:
            found = clips.count(candidate, self.plan.limit)
        except TooSlow as error:
            self._slowest[candidate.key] = (error.seconds, amount)
            self._leave_out(clips, candidate, str(error))
            return None
        except (RuntimeError, ValueError) as error:  # one failure must not end hours of measurements
            self._leave_out(clips, candidate, str(error).splitlines()[0])
            make_room(self.subject.device)
            return None
        self._slowest[candidate.key] = (found.first_seconds, amount)
        return found

    def _leave_out(self, clips: Clips, candidate: Candidate, reason: str) -> None:
        entry = {"candidate": candidate.key, "seconds": clips.seconds, "batch_size": clips.audios}
        self.left_out.append(entry | {"reason": reason.rstrip(".")})

    def _add_rows(self, clips: Clips, counted: dict[Candidate, Counted], measured: dict[Candidate, _Measured]) -> None:
        plain = next((each for each in counted if each.label == UNCOMPRESSED and each.together), None)
        for candidate, found in counted.items():
            own, base = measured[candidate], None if plain is None else measured[plain]
            row: dict[str, Any] = {
                "candidate": candidate.label,
                "retention_ratio": candidate.ratio,
                "way": candidate.way,
                "seconds": clips.seconds,
                "lengths": clips.lengths,
                "batch_size": clips.audios,
                "rounds": len(own.total),
                **asdict(found),
                **own.spreads(),
                "phase_sum": own.phase_sum,
                "speedup": None if base is None else base.median / own.median,
                "bound": None,
            }
            if plain is not None and base is not None and candidate.compresses and candidate.together:
                allowed = bound(base.phase_medians, counted[plain].operations, found.operations, base.decode_median)
                row["bound"] = allowed.to_dict()
                row["reached"] = row["speedup"] / allowed.speedup
                if allowed.floor_speedup is not None:
                    row["reached_above_floor"] = row["speedup"] / allowed.floor_speedup
            self.rows.append(row)


class _Measured:
    """The rounds of one candidate on one workload, including those of the features."""

    def __init__(self, rounds: Sequence[dict[str, float]], features: Sequence[float], plan: SpeedPlan) -> None:
        self.steps = plan.new_tokens - 1
        self.by_phase = {"features": list(features), **{name: [each[name] for each in rounds] for name in PHASES}}
        self.total = [made + each["first"] for made, each in zip(features, rounds, strict=True)]
        self.whole = [made + each["first"] + each["rest"] for made, each in zip(features, rounds, strict=True)]
        self.decode = [each["rest"] / self.steps for each in rounds] if self.steps else []

    @property
    def phase_medians(self) -> dict[str, float]:
        return {name: Spread.of(values).median for name, values in self.by_phase.items()}

    @property
    def median(self) -> float:
        return Spread.of(self.total).median

    @property
    def decode_median(self) -> float | None:
        return Spread.of(self.decode).median if self.decode else None

    @property
    def phase_sum(self) -> float:
        """The median of the sums over phases, which should match ``total``, measured in separate calls."""
        return Spread.of([sum(values) for values in zip(*self.by_phase.values(), strict=True)]).median

    def spreads(self) -> dict[str, Any]:
        """Median, minimum and maximum in seconds: of each phase, their sum, a decoding step and the whole call."""
        found: dict[str, Any] = {name: asdict(Spread.of(values)) for name, values in self.by_phase.items()}
        found["total"] = asdict(Spread.of(self.total))
        found["decode"] = asdict(Spread.of(self.decode)) if self.decode else None
        found["whole"] = asdict(Spread.of(self.whole))
        return found
