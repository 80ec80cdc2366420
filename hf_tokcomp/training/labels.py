"""Labels and other values aligned with the shortened prompt, for losses and metrics outside the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..inference.collator import IGNORED
from ..models.instance import unwrap


def shortened(model: Any, values: Tensor, fill: float = IGNORED) -> Tensor:
    """Align values of the prompt from the model's last call with the columns of its logits.

    For custom losses: under compression the logits have the length of the shortened prompt, but the labels of the batch
    do not.

        outputs = model(**inputs)
        labels = shortened(model, inputs["labels"])
        loss = torch.nn.functional.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    A teacher's logits for the full prompt predict the next column, which may have been removed: assign each to the
    column it predicts, as labels are.

        wanted = shortened(model, teacher_logits.roll(1, dims=1))[:, 1:]  # beside outputs.logits[:, :-1]

    Args:
        model: a patched model, possibly wrapped by PEFT or DDP, whose last call was with this prompt.
        values: ``(batch, prompt, ...)``, such as labels.
        fill: the value in padding columns.

    Returns:
        ``(batch, short, ...)``; the values unchanged if nothing was shortened.

    Raises:
        ValueError: the model's last call was with a different prompt.

    Example:
        >>> from hf_tokcomp.training import shortened
        >>> model = hf_tokcomp.patch(model, "average_pooling")
        >>> outputs = model(**inputs)
        >>> labels = shortened(model, inputs["input_ids"])
        >>> outputs.logits.shape[:2] == labels.shape
        True
        >>> loss = torch.nn.functional.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    """
    record = unwrap(model).audio_compressor.last
    if record is None or record.columns is None:
        return values
    columns = record.columns.to(values.device)
    if values.shape[:2] != (columns.shape[0], record.width):
        raise ValueError(
            f"The model's last call had a prompt of {(columns.shape[0], record.width)} (batch, columns), and these "
            f"values are of {tuple(values.shape[:2])}: call `shortened` right after the model."
        )
    more = (1,) * (values.dim() - 2)
    index = columns.clamp(min=0).view(*columns.shape, *more).expand(-1, -1, *values.shape[2:])
    return torch.where((columns >= 0).view(*columns.shape, *more), values.gather(1, index), fill)
