"""The cells of a comparison: a method at a ratio and with positions, what it read, and how right that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..evaluation.metrics.texts import word_errors

if TYPE_CHECKING:
    from ..config.config import CompressionConfig
    from ..inference.reader import Reading


COUNTS = ("tokens_after", "tokens_asked")


@dataclass(eq=False)
class Cell:
    """One method at one ratio with one kind of positions; several configs where it is averaged over seeds.

    Args:
        method: its key, or several joined by ``+``.
        ratio: retention ratio asked for; 1 for `none`.
        positions: None for `none`, where both kinds are the same.
        configs: what to run.
        readings: per config, what was read in each recording, by the recording's index.
        prefill: seconds to the first token, all configs together.
        decode: seconds after it.
    """

    method: str
    ratio: float
    positions: str | None
    configs: list[CompressionConfig]
    readings: list[dict[int, Reading]] = field(init=False)
    prefill: float = 0.0
    decode: float = 0.0

    def __post_init__(self) -> None:
        self.readings = [{} for _ in self.configs]

    def in_order(self) -> list[list[Reading]]:
        """Per config, the readings in the recordings' order."""
        return [[readings[index] for index in sorted(readings)] for readings in self.readings]

    def to_dict(self, truths: Sequence[str | None]) -> dict[str, Any]:
        """Everything about the cell; with the scores if there are truths.

        ``kept`` is the fraction of tokens that was really kept, ``asked`` that which the budget asked for (None without
        one), both the mean over recordings and seeds; ``tokens_after``, ``tokens_asked`` and ``texts`` are lists per
        config of lists per recording.
        """
        from .report import settings

        rows = self.in_order()
        readings = [reading for row in rows for reading in row]
        kept = [reading.tokens_after / reading.tokens_before for reading in readings]
        budgets = [r.tokens_asked / r.tokens_before for r in readings if r.tokens_asked is not None]
        asked = sum(budgets) / len(budgets) if len(budgets) == len(readings) else None
        texts = [[reading.text for reading in row] for row in rows]
        values: dict[str, Any] = {
            "method": self.method,
            "retention_ratio": self.ratio,
            "positions": self.positions,
            "compression": [settings(config) for config in self.configs],
            "kept": round(sum(kept) / len(kept), 4),
            "asked": None if asked is None else round(asked, 4),
            "seconds": {"prefill": round(self.prefill, 3), "decode": round(self.decode, 3)},
        }
        if any(truth is not None for truth in truths):
            scores = [score(truths, row) for row in texts]
            for name in ("wer", "exact_match"):
                values[name] = round(sum(s[name] for s in scores) / len(scores), 4)
                if len(scores) > 1:
                    values[f"{name}_by_seed"] = [round(s[name], 4) for s in scores]
        counts = {name: [[getattr(reading, name) for reading in row] for row in rows] for name in COUNTS}
        return values | counts | {"texts": texts}


def score(truths: Sequence[str | None], texts: Sequence[str]) -> dict[str, float]:
    """`word_errors` over the recordings whose truth is known."""
    known = [(truth, text) for truth, text in zip(truths, texts, strict=True) if truth is not None]
    return word_errors([truth for truth, _ in known], [text for _, text in known])


def plan(
    methods: Sequence[str] | None, ratios: Sequence[float], positions: Sequence[str], seeds: int
) -> tuple[list[Cell], dict[str, str]]:
    """The cells to run, `none` first, and the methods that were left out with the reason.

    Args:
        methods: keys, or several joined by ``+`` for a composition; None for all that work with a ratio alone and have
            nothing to learn, and one composition.
        ratios: retention ratios. At 1 every method is `none`, which is there in any case.
        positions: kinds of positions.
        seeds: seeds 0, 1, ... of methods that draw at random.

    Raises:
        CompressionConfigError: no such method, or a ratio out of range.
    """
    from ..evaluation.plan import ALL, by_cell
    from ..evaluation.plan import plan as plan_runs

    runs, left_out = plan_runs([ALL] if methods is None else methods, ratios, positions, seeds)
    cells = [
        Cell(method, 1.0 if ratio is None else ratio, positions_of, [run.config for run in several])
        for (method, ratio, positions_of), several in by_cell(runs).items()
    ]
    return cells, left_out
