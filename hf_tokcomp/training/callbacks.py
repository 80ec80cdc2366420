"""Trainer callbacks: share of tokens kept, metrics on generated answers, and the model card."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import datasets
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..cards import write_card
from ..evaluation.kinds import kind_named
from ..evaluation.metrics import WHILE_TRAINING, load_metric
from ..hub.prompt_file import StoredPrompt, write_prompt
from ..inference.answers import answer_beside_truth, is_streamed
from ..inference.asking import Answer
from ..inference.collator import AudioTextCollator
from ..models.instance import active_config, unwrap

logger = logging.getLogger(__name__)
Measuring = Callable[[Sequence[str], Sequence[str]], dict[str, float]]
"""A function from reference texts and predicted texts to metric values by name."""
Metric = Any
"""An `evaluate.Metric`, the result of `evaluate.combine`, or a function of reference and predicted texts."""


class _Logging(TrainerCallback):  # type: ignore[misc]
    """A callback that logs through the trainer; `make_trainer` passes it the trainer's `log` method."""

    log: Callable[[dict[str, float]], None] | None = None


class TokensKept(_Logging):
    """Logs ``tokens_kept``, the share of audio tokens kept since the last log, whenever the loss is logged."""

    def __init__(self) -> None:
        self.counted = (0, 0)
        """Audio tokens before and after compression since the last log."""

    def on_substep_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        record = getattr(getattr(unwrap(model), "audio_compressor", None), "last", None)
        if record is not None:
            before, after = self.counted
            self.counted = before + sum(record.tokens_before), after + sum(record.tokens_after)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.on_substep_end(args, state, control, model)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        # Not at the end of a step: Trainer would take any log for the one that is due and no longer log the loss.
        before, after = self.counted
        if "loss" in (logs or {}) and before and self.log is not None:
            self.counted = (0, 0)
            self.log({"tokens_kept": round(after / before, 4)})


def metric_of(task: str | Metric) -> Measuring:
    """The metrics of a task, as a function of reference texts and predicted texts.

    Args:
        task: as for `GenerationMetrics`.

    Raises:
        ValueError: the task is unknown.
        TypeError: `task` is not a metric.
    """
    if isinstance(task, str):
        loaded = {name: load_metric(key) for name, key in WHILE_TRAINING[kind_named(task)].items()}

        def by_kind(truths: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
            listed = [[truth] for truth in truths]
            return {
                name: float(metric.value(metric.statistics(texts, listed).sum(0))) for name, metric in loaded.items()
            }

        return by_kind
    if callable(getattr(task, "compute", None)):
        compute, listed = task.compute, _takes_lists(task)

        def by_evaluate(truths: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
            references = [[truth] for truth in truths] if listed else list(truths)
            return dict(compute(predictions=list(texts), references=references))

        return by_evaluate
    if callable(task):
        return cast("Measuring", task)
    raise TypeError(f"task is a kind of task, an evaluate.Metric or a function, not {type(task).__name__}.")


def _takes_lists(metric: Any) -> bool:
    """Whether an `evaluate` metric expects a list of references per prediction instead of a single text."""
    first = getattr(metric, "evaluation_modules", [metric])[0]
    formats = first.features if isinstance(first.features, list) else [first.features]
    return not any(isinstance(each["references"], datasets.Value) for each in formats)


class GenerationMetrics(_Logging):
    """Generates answers for the rows of every evaluation and prediction, and scores them.

    The scores are added to the metrics that `Trainer.evaluate` and `Trainer.predict` return, under the prefix of that
    call. ``metric_for_best_model="wer"`` therefore works (with ``greater_is_better=False``), and a dict of held-out
    sets yields one ``<name>_wer`` per set.

    Args:
        collator: builds the prompts.
        task: a task, which determines the metrics, see `hf_tokcomp.evaluation.metrics.WHILE_TRAINING` (rates are in %);
            or a metric: an `evaluate.Metric`, the result of `evaluate.combine`, or a function of reference and
            predicted texts that returns values by name.
        batch_size: number of rows generated together.
        max_new_tokens: maximum length of an answer.
    """

    def __init__(
        self,
        collator: AudioTextCollator,
        task: str | Metric = "asr",
        batch_size: int = 8,
        max_new_tokens: int = 128,
    ) -> None:
        self.collator = collator
        self.metric = metric_of(task)
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens
        self.answers: list[Answer] = []

    def measure(self, model: Any, rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
        """The metric values and ``tokens_kept``; the answers are stored in ``self.answers``.

        Args:
            model: a patched model, possibly wrapped by PEFT.
            rows: rows with ``text``, in the collator's format; a streamed data set is read once.

        Raises:
            ValueError: there are no rows, or a row has no text.
        """
        self.answers, truths = answer_beside_truth(model, self.collator, rows, self.batch_size, self.max_new_tokens)
        values = self.metric(truths, [given.text for given in self.answers])
        before = sum(given.tokens_before for given in self.answers)
        after = sum(given.tokens_after for given in self.answers)
        return {**values, "tokens_kept": round(after / max(before, 1), 4)}

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        values = self._measure_call(args, **given)
        if self.log is not None:
            self.log(values)

    def on_predict(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self._measure_call(args, **given)  # Trainer does not log predictions

    def _measure_call(
        self, args: Any, model: Any, metrics: dict[str, float], eval_dataloader: Any, **_: Any
    ) -> dict[str, float]:
        """Measure the rows that Trainer has just processed, and add the values to Trainer's own."""
        rows = eval_dataloader.dataset
        check_streamed(args, rows)
        # All of Trainer's metric names begin with the prefix of the call; the shortest with this ending gives it.
        runtime = "_runtime"
        prefix = min((name for name in metrics if name.endswith(runtime)), key=len).removesuffix(runtime)
        values = {f"{prefix}_{name}": value for name, value in self.measure(model, rows).items()}
        metrics.update(values)
        return values


def check_streamed(args: Any, rows: Any) -> None:
    """Raise if answers cannot be measured because several processes would each get a part of a streamed data set.

    Raises:
        ValueError: the data set is streamed and there is more than one process.
    """
    if args.world_size > 1 and is_streamed(rows):
        raise ValueError(
            "Several processes cannot share a streamed data set in an evaluation: load the held-out rows whole "
            "(streaming=False), or train in one process."
        )


class CardWriter(TrainerCallback):  # type: ignore[misc]
    """Writes the prompt and our model card next to every adapter that Trainer saves, replacing PEFT's empty card.

    Args:
        repo_id: the repository that the card names.
        prompt: the prompt the adapter is trained on; None if it differs between rows.
        fields: fields of `hf_tokcomp.cards.CompressionCard`, such as ``base_model``.
    """

    def __init__(self, repo_id: str, prompt: StoredPrompt | None = None, **fields: Any) -> None:
        self.repo_id = repo_id
        self.prompt = prompt
        self.fields = fields if prompt is None else {**fields, "prompt": prompt.text}

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.is_world_process_zero:
            self.write(Path(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"), model)

    def write(self, folder: Path, model: Any) -> None:
        """Write both into a folder with an adapter of this model; a hand-written card is kept."""
        if not folder.is_dir():
            return
        write_prompt(folder, self.prompt)
        config = active_config(model)
        if config is not None:
            write_card(folder, config, self.repo_id, kind="adapter", **self.fields)
