"""What a run of the speed benchmark measures, checked before a model is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...evaluation.plan import Run
from .candidates import Candidate, candidates
from .subject import Subject


@dataclass(frozen=True, kw_only=True)
class SpeedPlan:
    """What is measured.

    Args:
        runs: the compressions, `none` first, as `hf_tokcomp.evaluation.plan.plan` returns them.
        audio_seconds: lengths of the clips; empty for one window of the model's encoder.
        batch_sizes: clips together.
        new_tokens: tokens to write; the first belongs to the prefill.
        ragged: whether the clips of a batch differ in length, in equal steps up to the longest.
        one_by_one: whether the clips of a batch are read in a call each, too.
        rivals: whether to measure eager attention scores, one clip at a time, too.
        none: whether the method `none` is measured beside the model that is not patched.
        rounds: rounds of measurements at least; one more is thrown away.
        seconds: of a workload; after the least number, no round begins after this time.
        limit: a candidate is left out where one call takes longer, or would, judged by a shorter workload.
    """

    runs: Sequence[Run]
    audio_seconds: Sequence[float] = ()
    batch_sizes: Sequence[int] = (1,)
    new_tokens: int = 16
    ragged: bool = False
    one_by_one: bool = False
    rivals: bool = False
    none: bool = False
    rounds: int = 5
    seconds: float = 5.0
    limit: float = 120.0

    def __post_init__(self) -> None:
        if any(not seconds > 0 for seconds in self.audio_seconds):
            raise ValueError("The lengths of the audio must be above 0 seconds.")
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            raise ValueError("A batch has at least one clip.")
        if self.new_tokens < 1 or self.rounds < 1:
            raise ValueError("At least one token must be generated, and one round measured.")
        if self.ragged and max(self.batch_sizes) == 1:
            raise ValueError("Clips of several lengths need a batch of at least two.")

    @property
    def candidates(self) -> list[Candidate]:
        return candidates(self.runs, self.one_by_one, self.rivals, self.none)

    def lengths(self, subject: Subject) -> list[float]:
        """Seconds of the clips.

        Raises:
            ValueError: the model would cut off some of them, or find no two tokens in them.
        """
        found = list(self.audio_seconds) or [subject.window_seconds]
        if max(found) > subject.longest_seconds:
            raise ValueError(
                f"{subject.name} reads {subject.longest_seconds:g} s of an audio at most, not {max(found):g} s."
            )
        shortest = min(found) / (max(self.batch_sizes) if self.ragged else 1)
        # A single token makes upstream's Qwen2-Audio take its legacy branch, which fails.
        if subject.patch.window_tokens(int(shortest * 100)) < 2:
            raise ValueError(f"{shortest:g} s of audio make fewer than two audio tokens; measure longer audio.")
        return found

    def to_dict(self) -> dict[str, Any]:
        """For a report."""
        values = asdict(self)
        values["runs"] = [run.key for run in self.runs]
        return values | {name: list(values[name]) for name in ("audio_seconds", "batch_sizes")}
