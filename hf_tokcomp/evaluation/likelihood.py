"""Which option a model finds likeliest: the log-likelihood of each as the answer, under compression."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..inference.asking import token_counts
from ..inference.collator import IGNORED, AudioTextCollator
from ..models.instance import unwrap


def option_inputs(
    collator: AudioTextCollator, rows: Sequence[Mapping[str, Any]], choices: Sequence[Sequence[str]]
) -> dict[str, Tensor]:
    """One batch with every option of every row as the answer.

    Args:
        collator: makes the prompts.
        rows: ``{"audio", "prompt"}``.
        choices: each row's options.
    """
    return collator([{**row, "text": option} for row, options in zip(rows, choices, strict=True) for option in options])


def option_likelihoods(
    model: Any, inputs: Mapping[str, Tensor], choices: Sequence[Sequence[str]]
) -> tuple[list[list[float]], list[tuple[int, int, int | None]]]:
    """The log-likelihood of every option of every row, and the rows' audio tokens: before, after, asked for.

    An option is scored as the whole answer, with what ends it: the sum over its tokens, in nats, the probability that
    the model gives just this answer (our choice; it is not divided by the length).

    Args:
        model: a patched model.
        inputs: of `option_inputs`, on the model's device.
        choices: each row's options.

    Raises:
        FloatingPointError: the model computed something that is no number.
    """
    # Without the labels, or the model would compute a loss of all columns that nobody asked for.
    rest = {name: value for name, value in inputs.items() if name != "labels"}
    with torch.inference_mode():
        outputs = model(**rest, use_cache=False)
    record = unwrap(model).audio_compressor.last
    labels = inputs["labels"]
    if record.columns is not None:
        columns = record.columns.to(labels.device)
        labels = labels.gather(1, columns.clamp(min=0)).masked_fill(columns < 0, IGNORED)
    sums = answer_likelihoods(outputs.logits, labels).tolist()
    if not all(map(math.isfinite, sums)):
        raise FloatingPointError("The model's log-likelihoods are not finite; try --dtype float32 or bfloat16.")
    counts = list(token_counts(unwrap(model), [1] * len(sums)))
    starts = [0, *itertools.accumulate(map(len, choices))]
    found = [sums[start : start + len(options)] for start, options in zip(starts, choices, strict=False)]
    return found, [counts[start] for start in starts[:-1]]


def answer_likelihoods(logits: Tensor, labels: Tensor) -> Tensor:
    """``(batch,)`` summed log-probabilities of the labels ``(batch, columns)`` that are not ignored.

    Args:
        logits: ``(batch, columns, vocabulary)``; those of a column predict the label of the next one.
        labels: -100 where nothing is to be said.
    """
    wanted = labels[:, 1:].to(logits.device)
    heard = wanted != IGNORED
    # Only the answers' columns are made float: all columns of a large vocabulary would be gigabytes.
    each = logits[:, :-1][heard].float().log_softmax(-1).gather(-1, wanted[heard][:, None])[:, 0]
    sums = each.new_zeros(len(labels))
    return sums.index_add_(0, heard.nonzero()[:, 0], each)
