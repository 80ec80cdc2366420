"""CompressedTrainer: transformers' Trainer with labels as long as the logits, and seamless resuming."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import TrainOutput

from ..hub.whole_files import write_whole
from ..models.cache_names import CACHE_NAMES
from .callbacks import TokensKept
from .labels import shortened

UNLOGGED = "hf_tokcomp_unlogged"
"""Key in a checkpoint's `TrainerState` for the counts that were not logged yet."""


class CompressedTrainer(Trainer):  # type: ignore[misc]
    """A `transformers.Trainer` for a model under compression, with two differences.

    First, under compression the logits have the length of the shortened prompt. So do the labels that this trainer
    passes to a loss or metric outside the model: for ``label_smoothing_factor`` (computed on the next token, like the
    model's own loss), ``compute_loss_func``, ``preprocess_logits_for_metrics`` and ``compute_metrics``. A subclass that
    overrides ``compute_loss`` gets its labels from `shortened`.

    Second, a run resumed from any of its checkpoints ends exactly like an uninterrupted one, log included. Trainer
    itself restarts its running means, trains one step too many after the last, and skips what was due between a
    checkpoint and the end of its epoch. The last checkpoint of an epoch includes what happens at the end of the epoch.

    Example:
        >>> from transformers import TrainingArguments
        >>> from hf_tokcomp.data import load_examples
        >>> from hf_tokcomp.training import AudioTextCollator, CompressedTrainer
        >>> trainer = CompressedTrainer(
        ...     hf_tokcomp.patch(model, "average_pooling"),
        ...     TrainingArguments("run", max_steps=1, remove_unused_columns=False, report_to="none"),
        ...     train_dataset=load_examples("my_recordings").dataset,
        ...     data_collator=AudioTextCollator(processor, "Transcribe the digits."),
        ... )
        >>> output = trainer.train()
        >>> output.global_step
        1
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        smoother: Any = self.label_smoother  # type: ignore[has-type]
        if smoother is not None:
            # Trainer applies the shift only for certain model classes, and these are not among them.
            self.label_smoother = functools.partial(self._on_short_labels, smoother, shift_labels=True)
        loss: Any = self.compute_loss_func  # type: ignore[has-type]
        if loss is not None:
            self.compute_loss_func = functools.partial(self._on_short_labels, loss)
        self.add_callback(_GoOn(self))

    def _on_short_labels(self, loss: Callable[..., Any], outputs: Any, labels: Tensor | None, **options: Any) -> Any:
        return loss(outputs, None if labels is None else shortened(self.model, labels), **options)

    def prediction_step(
        self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Any, Any, Any]:
        """Trainer's, with labels as long as the logits, and without caches under any of their names."""
        own = getattr(self.model.config, "keys_to_ignore_at_inference", ()) if ignore_keys is None else ignore_keys
        ignored = [*own, *CACHE_NAMES]
        loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only, ignored)
        return loss, logits, shortened(self.model, labels) if isinstance(labels, Tensor) else labels

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **options: Any) -> TrainOutput:
        """Trainer's; ``eval_on_start`` is ignored when resuming, since the first run already did that evaluation."""
        on_start = self.args.eval_on_start
        self.args.eval_on_start = on_start and not resume_from_checkpoint
        try:
            output = super().train(resume_from_checkpoint, *args, **options)
        finally:
            self.args.eval_on_start = on_start
        return output._replace(training_loss=output.metrics["train_loss"])

    def get_batch_samples(self, *args: Any, **options: Any) -> tuple[list[Any], Any]:
        """Trainer's; empty if all steps are already done, as in a run resumed from its last checkpoint."""
        if self.state.global_step >= self.state.max_steps:
            return [], None
        return super().get_batch_samples(*args, **options)  # type: ignore[no-any-return]

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """Trainer's; ``train_loss`` is the mean over all steps, including those before the run was resumed."""
        if "train_loss" in logs:
            logs["train_loss"] = self._total_loss_scalar / max(self.state.global_step, 1)
        super().log(logs, *args, **options)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.state.stateful_callbacks[UNLOGGED] = {
            "loss": self.accelerator.reduce(self._tr_loss, "mean").item(),
            "total_loss": self._total_loss_scalar,
            "last_logged": self._globalstep_last_logged,
            "tokens": [counter.counted for counter in self._counters()],
        }
        super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        folder, tokenizer = Path(output_dir or self.args.output_dir), getattr(self.processing_class, "tokenizer", None)
        told = folder / "tokenizer_config.json"
        # Without a model's config.json beside it, this file alone says whose tokenizer.json or tekken.json it is;
        # mistral-common's tokenizer does not write it.
        if self.args.should_save and tokenizer is not None and not told.exists():
            write_whole(told, json.dumps({"tokenizer_class": type(tokenizer).__name__}) + "\n")

    def _load_callback_state(self) -> None:
        self._unlogged = self.state.stateful_callbacks.pop(UNLOGGED, None)  # no callback owns it: Trainer would warn
        super()._load_callback_state()

    def _count_on(self) -> None:
        """Restore a checkpoint's counts for the next log, after Trainer has reset its own."""
        unlogged, self._unlogged = getattr(self, "_unlogged", None), None
        if unlogged is None:
            return
        self._tr_loss += unlogged["loss"]
        self._total_loss_scalar = unlogged["total_loss"]
        self._globalstep_last_logged = unlogged["last_logged"]
        for counter, counted in zip(self._counters(), unlogged["tokens"], strict=False):
            counter.counted = tuple(counted)

    def _counters(self) -> list[TokensKept]:
        return [callback for callback in self.callback_handler.callbacks if isinstance(callback, TokensKept)]


class _GoOn(TrainerCallback):  # type: ignore[misc]
    """Handles the events of a `CompressedTrainer` run so that it can be resumed seamlessly.

    Args:
        trainer: the trainer.
    """

    def __init__(self, trainer: CompressedTrainer) -> None:
        self.trainer = trainer
        self.begun_at = 0
        self.save_later = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.begun_at, self.save_later = state.global_step, False
        self.trainer._count_on()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Postpone saving to the end of the epoch if this is its last step, which a resumed run would not revisit."""
        ends = float(state.epoch).is_integer() or control.should_training_stop
        if control.should_save and ends and "epoch" in (args.logging_strategy, args.eval_strategy):
            control.should_save, self.save_later = False, True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.save_later:
            control.should_save, self.save_later = True, False
        elif state.global_step == self.begun_at > 0:  # resumed at the end of the epoch: already done
            control.should_log = control.should_evaluate = control.should_save = False
