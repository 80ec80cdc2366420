"""The loss over a whole optimizer step, for models whose own loss knows only its own batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


def forward_with_items(forward: Callable[..., Any], counts_items: bool, inputs: dict[str, Any]) -> Any:
    """Call a model's ``forward``, with a loss that is right under gradient accumulation.

    Trainer tells the model how many labels all batches of a step have together, ``num_items_in_batch``, and expects the
    sum of the loss over them, divided by that. A model that ignores it returns the mean over its own batch instead, and
    every step is too large by the number of batches.

    Args:
        forward: the model's own.
        counts_items: whether it heeds ``num_items_in_batch`` itself.
        inputs: its keywords.
    """
    if counts_items or inputs.get("num_items_in_batch") is None:
        return forward(**inputs)
    items = inputs["num_items_in_batch"]
    outputs = forward(**{name: value for name, value in inputs.items() if name != "num_items_in_batch"})
    labels = inputs.get("labels")
    if labels is None:
        return outputs
    # In this order, so that one batch alone keeps its loss to the last bit.
    share = _predicted(labels, inputs.get("attention_mask")) / items
    if isinstance(outputs, tuple):
        return (outputs[0] * share.to(outputs[0].device), *outputs[1:])
    outputs["loss"] = outputs["loss"] * share.to(outputs["loss"].device)
    return outputs


def _predicted(labels: Tensor, mask: Tensor | None) -> Tensor:
    """How many labels are predicted: not the first column's, and none that is masked."""
    counted = labels[:, 1:] != -100
    if mask is not None:
        counted = counted & (mask[:, 1:] != 0).to(labels.device)
    return counted.sum()
