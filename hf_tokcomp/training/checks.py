"""Checks of training arguments and data that run before a model is loaded or a step is taken."""

from __future__ import annotations

import os
from typing import Any

from torch.utils.data import IterableDataset
from transformers import TrainingArguments
from transformers.integrations import is_deepspeed_zero3_enabled

from ..evaluation.kinds import kind_named
from ..evaluation.metrics import WHILE_TRAINING
from ..inference.answers import is_streamed
from ..messages import did_you_mean
from .callbacks import Metric, check_streamed

MEASURED_BY_TRAINER = ("loss", "runtime", "samples_per_second", "steps_per_second")
BY_LENGTH = ("group_by_length", "batch_rebalance")


def check_training(args: TrainingArguments, lengths_known: bool = True) -> None:
    """Raise for `TrainingArguments` that do not work with these models or with these rows.

    Args:
        args: the training arguments.
        lengths_known: whether the rows may have a column with their lengths.

    Raises:
        ValueError: Liger kernels are requested, which do not exist for these models; or batches by length, but the
            lengths are unknown.
    """
    if args.use_liger_kernel:
        raise ValueError("There are no Liger kernels for these models; leave out use_liger_kernel.")
    if not lengths_known and args.train_sampling_strategy in BY_LENGTH:
        raise ValueError(
            f"train_sampling_strategy={args.train_sampling_strategy!r} needs the recordings' lengths, which are "
            "measured by reading them; leave out --no-check."
        )


def check_evaluation(args: TrainingArguments, task: str | Metric | None) -> None:
    """Raise if a task cannot be measured, or if the worst model would be selected as the best.

    Args:
        args: the training arguments.
        task: the task or metric to measure; None for nothing.

    Raises:
        ValueError: either is the case.
    """
    if task is not None and _in_pieces(args):
        raise ValueError(
            "Under FSDP and DeepSpeed ZeRO-3 a process holds only part of the model and cannot generate: train without "
            "`task` (without --eval-dataset and --eval-split), and measure the saved adapter with `hf-tokcomp compare`."
        )
    # TrainingArguments sets greater_is_better to True for every name that does not end in "loss".
    name = str(args.metric_for_best_model)
    if args.greater_is_better and f"_{name}".endswith("_wer"):
        raise ValueError(
            f"The best word error rate is the lowest: metric_for_best_model={name!r} needs greater_is_better=False "
            "(--greater-is-better false)."
        )


def check_held_out(args: TrainingArguments, task: str | Metric | None, held_out: Any) -> list[str] | None:
    """Raise for held-out rows on which the first evaluation would fail.

    Args:
        args: the training arguments.
        task: the task or metric measured on generated answers; None for nothing.
        held_out: a data set, a dict of data sets, or None.

    Returns:
        The names of the sets; None if they have no names.

    Raises:
        ValueError: a set is empty, can be read only once, or is a stream shared by several processes.
    """
    if held_out is None:
        return None
    sets = held_out if isinstance(held_out, dict) else {None: held_out}
    if not sets:
        raise ValueError("eval_dataset is an empty dict.")
    for name, rows in sets.items():
        which = "eval_dataset" if name is None else f"eval_dataset[{name!r}]"
        if is_streamed(rows) and not isinstance(rows, IterableDataset):
            raise ValueError(
                f"{which} is a {type(rows).__name__}, and every evaluation reads all of it again: pass a list, a "
                "Dataset, or a streamed IterableDataset."
            )
        if not is_streamed(rows) and len(rows) == 0:
            raise ValueError(f"{which} has no rows.")
        if task is not None:
            check_streamed(args, rows)
    return None if sets is not held_out else list(sets)


def check_best_metric(args: TrainingArguments, task: str | Metric | None, sets: list[str] | None) -> None:
    """Raise if the best model is selected by a metric that is not measured; Trainer notices only when evaluating.

    Args:
        args: the training arguments.
        task: the task or metric measured on generated answers; None for nothing.
        sets: the names of the held-out sets, see `check_held_out`.

    Raises:
        ValueError: the metric is not measured; the message lists those that are.
    """
    if args.metric_for_best_model is None or args.eval_strategy == "no" or not isinstance(task, str | None):
        return
    own = () if task is None else (*WHILE_TRAINING[kind_named(task)], "tokens_kept")
    known = [*own, *MEASURED_BY_TRAINER]
    if sets is not None:
        known = [f"{name}_{metric}" for name in sets for metric in known]
    wanted = args.metric_for_best_model.removeprefix("eval_")
    if wanted not in known:
        raise ValueError(
            f"metric_for_best_model={args.metric_for_best_model!r} is not measured{did_you_mean(wanted, known)} Known "
            f"metrics: {', '.join(known)}."
        )


def _in_pieces(args: TrainingArguments) -> bool:
    fsdp = bool(args.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true", "yes")
    return fsdp or is_deepspeed_zero3_enabled()
