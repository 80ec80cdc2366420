"""Callbacks for Trainer: tokens kept, metrics by generation, the model card."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..cards import write_card
from ..metrics import METRICS, Metric, Task
from ..patching import _inner, active_config
from .answers import Answer, answer
from .collator import AudioTextCollator

logger = logging.getLogger(__name__)


class _Logging(TrainerCallback):  # type: ignore[misc]
    """A callback that logs as Trainer does; `make_trainer` hands it the trainer's own `log`."""

    log: Callable[[dict[str, float]], None] | None = None


class TokensKept(_Logging):
    """Logs ``tokens_kept``, the share of audio tokens left since the last time, where the loss is logged."""

    def __init__(self) -> None:
        self._before = self._after = 0

    def on_substep_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        record = getattr(getattr(_inner(model), "audio_compressor", None), "last", None)
        if record is not None:
            self._before += sum(record.tokens_before)
            self._after += sum(record.tokens_after)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.on_substep_end(args, state, control, model)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        # Not at a step's end: Trainer takes any log for the one that is due, and would not log the loss any more.
        if "loss" in (logs or {}) and self._before and self.log is not None:
            kept = round(self._after / self._before, 4)
            self._before = self._after = 0
            self.log({"tokens_kept": kept})


class GenerationMetrics(_Logging):
    """At every evaluation: real answers about held-out rows, and how right they are.

    What it measures is in the metrics that `Trainer.evaluate` returns, too, so ``metric_for_best_model="wer"`` works
    (with ``greater_is_better=False``).

    Args:
        rows: held-out rows, as the collator takes them.
        collator: makes their prompts.
        task: decides about the metric, see `hf_tokcomp.metrics.METRICS`; or the metric itself.
        batch_size: rows generated together.
        max_new_tokens: the longest answer.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        collator: AudioTextCollator,
        task: Task | Metric = "asr",
        batch_size: int = 8,
        max_new_tokens: int = 128,
    ) -> None:
        if not callable(task) and task not in METRICS:
            raise ValueError(f"There is no task {task!r}; there are {', '.join(METRICS)}.")
        self.rows = rows
        self.collator = collator
        self.metric: Metric = task if callable(task) else METRICS[task]
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens
        self.answers: list[Answer] = []

    def measure(self, model: Any) -> dict[str, float]:
        """The metric's numbers and ``tokens_kept``; the answers are in ``self.answers``."""
        self.answers = answer(
            model, self.collator, self.rows, batch_size=self.batch_size, max_new_tokens=self.max_new_tokens
        )
        truths = [str(row["text"]) for row in self.rows]
        values = self.metric(truths, [given.text for given in self.answers])
        before = sum(given.tokens_before for given in self.answers)
        after = sum(given.tokens_after for given in self.answers)
        return {**values, "tokens_kept": round(after / max(before, 1), 4)}

    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any = None, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        values = {f"eval_{name}": value for name, value in self.measure(model).items()}
        if metrics is not None:
            metrics.update(values)
        if self.log is not None:
            self.log(values)


class CardWriter(TrainerCallback):  # type: ignore[misc]
    """Writes our model card beside every adapter that Trainer saves, in place of PEFT's empty one.

    Args:
        repo_id: the repository that the card names.
        fields: of `hf_tokcomp.cards.CompressionCard`, such as ``base_model``.
    """

    def __init__(self, repo_id: str, **fields: Any) -> None:
        self.repo_id = repo_id
        self.fields = fields

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.is_world_process_zero:
            self.write(Path(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"), model)

    def write(self, folder: Path, model: Any) -> None:
        """Write it into a folder with an adapter of this model; one that somebody wrote stays."""
        config = active_config(model)
        if config is not None and folder.is_dir():
            write_card(folder, config, self.repo_id, kind="adapter", **self.fields)
