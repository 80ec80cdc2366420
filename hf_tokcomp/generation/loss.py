"""The loss under gradient accumulation, for models whose own loss averages over a single batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


def forward_with_items(forward: Callable[..., Any], counts_items: bool, inputs: dict[str, Any]) -> Any:
    """Call a model's ``forward`` with a loss that is correct under gradient accumulation.

    Trainer passes the total number of labels in all batches of a step as ``num_items_in_batch`` and expects the loss
    summed over a batch's labels and divided by it. A model that ignores it returns the mean over its own batch instead,
    and every step is too large by a factor of the number of batches.

    Args:
        forward: the model's own `forward`.
        counts_items: whether it uses ``num_items_in_batch`` itself.
        inputs: its keywords.
    """
    if counts_items or inputs.get("num_items_in_batch") is None:
        return forward(**inputs)
    items = inputs["num_items_in_batch"]
    outputs = forward(**{name: value for name, value in inputs.items() if name != "num_items_in_batch"})
    labels = inputs.get("labels")
    if labels is None:
        return outputs
    # In this order, so that the loss of a single batch stays bit-for-bit the same.
    share = _predicted(labels, inputs.get("attention_mask")) / items
    if isinstance(outputs, tuple):
        return (outputs[0] * share.to(outputs[0].device), *outputs[1:])
    outputs["loss"] = outputs["loss"] * share.to(outputs["loss"].device)
    return outputs


def _predicted(labels: Tensor, mask: Tensor | None) -> Tensor:
    """Number of labels that are predicted: all except the first column and masked ones."""
    counted = labels[:, 1:] != -100
    if mask is not None:
        counted = counted & (mask[:, 1:] != 0).to(labels.device)
    return counted.sum()
