"""Log-likelihoods of answer options under compression, to find the option a model considers most likely."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..inference.asking import Counts, token_counts
from ..inference.collator import IGNORED, AudioTextCollator
from ..models.instance import unwrap


def option_inputs(
    collator: AudioTextCollator, rows: Sequence[Mapping[str, Any]], choices: Sequence[Sequence[str]]
) -> dict[str, Tensor]:
    """Build one batch with every option of every row as the answer.

    Args:
        collator: builds the prompts.
        rows: ``{"audio", "prompt"}``.
        choices: the options of each row.
    """
    return collator([{**row, "text": option} for row, options in zip(rows, choices, strict=True) for option in options])


def option_likelihoods(
    model: Any, inputs: Mapping[str, Tensor], choices: Sequence[Sequence[str]]
) -> tuple[list[list[float]], list[Counts]]:
    """The log-likelihood of every option of every row, and the audio tokens of each row: before, after, budget.

    An option is scored as the complete answer including its end marker: the sum over its tokens, in nats, that is, the
    log-probability that the model gives exactly this answer (our choice; not normalized by length).

    Args:
        model: a patched model.
        inputs: the result of `option_inputs`, on the model's device.
        choices: the options of each row.

    Raises:
        FloatingPointError: the model produced a value that is not a number.
    """
    # Without the labels, as the model would otherwise compute an unneeded loss over all columns.
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
    """Sum the log-probabilities of the labels ``(batch, columns)`` that are not ignored: ``(batch,)``.

    Args:
        logits: ``(batch, columns, vocabulary)``; each column predicts the label of the next one.
        labels: -100 for positions that are ignored.
    """
    wanted = labels[:, 1:].to(logits.device)
    heard = wanted != IGNORED
    # Only the columns of the answers are converted to float: with a large vocabulary, all columns would take gigabytes.
    each = logits[:, :-1][heard].float().log_softmax(-1).gather(-1, wanted[heard][:, None])[:, 0]
    sums = each.new_zeros(len(labels))
    return sums.index_add_(0, heard.nonzero()[:, 0], each)
