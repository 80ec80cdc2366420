"""The plan of a decoding benchmark, checked before a model is created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...evaluation.plan import Run
from ..baselines import between_baselines
from ..speed.candidates import Candidate
from ..speed.subject import Subject


@dataclass(frozen=True, kw_only=True)
class DecodingPlan:
    """The plan of a decoding benchmark.

    Args:
        runs: the compressions; the uncompressed model is measured before and after them in any case.
        audio_seconds: lengths of the clips; empty for one window of the model's encoder.
        batch_sizes: numbers of streams that are decoded together.
        new_tokens: tokens of every stream; the steps after the first are measured.
        ragged: whether the clips of a batch differ in length, in equal steps up to the longest.
        rounds: minimum number of rounds; one more is discarded.
        seconds: time limit of a workload, after which no round starts beyond the minimum number.
        limit: a candidate is skipped if one call takes longer.

    Raises:
        ValueError: nothing can be measured this way.
    """

    runs: Sequence[Run]
    audio_seconds: Sequence[float] = ()
    batch_sizes: Sequence[int] = (1, 8, 16)
    new_tokens: int = 16
    ragged: bool = False
    rounds: int = 5
    seconds: float = 5.0
    limit: float = 120.0

    def __post_init__(self) -> None:
        if any(not seconds > 0 for seconds in self.audio_seconds):
            raise ValueError("The lengths of the audio must be above 0 seconds.")
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            raise ValueError("A batch has at least one clip.")
        if self.new_tokens < 2:
            raise ValueError("At least two tokens must be generated: a step of decoding is what follows the first.")
        if self.rounds < 1:
            raise ValueError("At least one round must be measured.")
        if self.ragged and min(self.batch_sizes) == 1:
            raise ValueError("Clips of several lengths need batches of at least two; give --batch-size.")

    @property
    def candidates(self) -> list[Candidate]:
        """What is measured, the unpatched model first and last."""
        return [
            Candidate(label, None, None) if run.config.is_upstream else Candidate(label, run.ratio, run.config)
            for label, run in between_baselines(self.runs)
        ]

    def lengths(self, subject: Subject) -> list[float]:
        """Lengths of the clips in seconds.

        Raises:
            ValueError: the model would cut some of them off, or hear less than two tokens.
        """
        found = list(self.audio_seconds) or [subject.window_seconds]
        if max(found) > subject.longest_seconds:
            raise ValueError(
                f"{subject.name} reads {subject.longest_seconds:g} s of an audio at most, not {max(found):g} s."
            )
        shortest = min(found) / (max(self.batch_sizes) if self.ragged else 1)
        if subject.patch.window_tokens(int(shortest * 100)) < 2:
            raise ValueError(f"{shortest:g} s of audio make fewer than two audio tokens; measure longer audio.")
        return found

    def to_dict(self) -> dict[str, Any]:
        """The plan as a dict, for a report."""
        values = asdict(self)
        values["runs"] = [run.key for _, run in between_baselines(self.runs)]
        return values | {name: list(values[name]) for name in ("audio_seconds", "batch_sizes")}
