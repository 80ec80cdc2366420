"""What cannot end well is refused before a model is read or a step is made."""

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
    """Raise for arguments of transformers' own that do not work with these models, or with rows of these.

    Args:
        args: transformers' own.
        lengths_known: whether the rows may say how long they are, in a column of their own.

    Raises:
        ValueError: Liger's kernels, which there are none of for these models; or batches by a length that rows do not
            say.
    """
    if args.use_liger_kernel:
        raise ValueError("There are no Liger kernels for these models; leave out use_liger_kernel.")
    if not lengths_known and args.train_sampling_strategy in BY_LENGTH:
        raise ValueError(
            f"train_sampling_strategy={args.train_sampling_strategy!r} needs the recordings' lengths, which are "
            "measured by reading them; leave out --no-check."
        )


def check_evaluation(args: TrainingArguments, task: str | Metric | None) -> None:
    """Raise where a task cannot be measured, or the worst model would be taken for the best.

    Args:
        args: transformers' own.
        task: what is measured; None for nothing.

    Raises:
        ValueError: it is so.
    """
    if task is not None and _in_pieces(args):
        raise ValueError(
            "Under FSDP and DeepSpeed ZeRO-3 a process holds only part of the model and cannot generate: train without "
            "`task` (without --eval-dataset and --eval-split), and measure the saved adapter with `hf-tokcomp compare`."
        )
    # TrainingArguments makes greater_is_better True for every name that does not end with "loss".
    name = str(args.metric_for_best_model)
    if args.greater_is_better and f"_{name}".endswith("_wer"):
        raise ValueError(
            f"The best word error rate is the lowest: metric_for_best_model={name!r} needs greater_is_better=False "
            "(--greater-is-better false)."
        )


def check_held_out(args: TrainingArguments, task: str | Metric | None, held_out: Any) -> list[str] | None:
    """Raise for held-out rows that the first evaluation could not go through.

    Args:
        args: transformers' own.
        task: what is measured by answers; None for nothing.
        held_out: a data set, a dict of them, or None.

    Returns:
        The names of the sets; None where they are not named.

    Raises:
        ValueError: there is nothing in it, it can be read only once, or several processes would share a stream.
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
    """Raise where the best model is chosen by a number that nobody measures: Trainer finds out an evaluation later.

    Args:
        args: transformers' own.
        task: what is measured by answers; None for nothing.
        sets: the names of the held-out sets, see `check_held_out`.

    Raises:
        ValueError: it is so; what is measured is named.
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
