"""The plan of a speed benchmark, checked before a model is created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...evaluation.plan import Run
from .candidates import Candidate, candidates
from .subject import Subject


@dataclass(frozen=True, kw_only=True)
class SpeedPlan:
    """The plan of a speed benchmark.

    Args:
        runs: the compressions, `none` first, as returned by `hf_tokcomp.evaluation.plan.plan`.
        audio_seconds: lengths of the clips; empty for one window of the model's encoder.
        batch_sizes: numbers of clips per batch.
        new_tokens: number of tokens to generate; the first belongs to the prefill.
        ragged: whether the clips of a batch differ in length, in equal steps up to the longest.
        one_by_one: whether to also read the clips of a batch with one call each.
        rivals: whether to also measure eager attention scores, one clip at a time.
        none: whether the method `none` is measured in addition to the unpatched model.
        rounds: minimum number of rounds; one more is discarded.
        seconds: time limit of a workload, after which no round starts beyond the minimum number.
        limit: a candidate is skipped if one call takes longer, or is expected to, judging by a shorter workload.
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
        """Lengths of the clips in seconds.

        Raises:
            ValueError: the model would truncate some of them, or get fewer than two tokens from them.
        """
        found = list(self.audio_seconds) or [subject.window_seconds]
        if max(found) > subject.longest_seconds:
            raise ValueError(
                f"{subject.name} reads {subject.longest_seconds:g} s of an audio at most, not {max(found):g} s."
            )
        shortest = min(found) / (max(self.batch_sizes) if self.ragged else 1)
        # With a single token, upstream's Qwen2-Audio takes its legacy branch, which fails.
        if subject.patch.window_tokens(int(shortest * 100)) < 2:
            raise ValueError(f"{shortest:g} s of audio make fewer than two audio tokens; measure longer audio.")
        return found

    def to_dict(self) -> dict[str, Any]:
        """The plan as a dict, for a report."""
        values = asdict(self)
        values["runs"] = [run.key for run in self.runs]
        return values | {name: list(values[name]) for name in ("audio_seconds", "batch_sizes")}
