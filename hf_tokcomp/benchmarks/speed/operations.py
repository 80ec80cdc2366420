"""Counting the operations of each phase of a call: matrix products, convolutions and attention, as actually run.

A multiply-add counts as two operations. Attention counts as two products of all queries with all keys, or half of that
if the call is marked as causal, which is what kernels then compute; with a padding mask they compute everything. Norms,
activations and data movement are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from ...models.base import Parts
from .phases import PHASES, Readings, read_between


def count_operations(parts: Parts, call: Callable[[], Any]) -> tuple[Readings, Any]:
    """Count operations during a call.

    Args:
        parts: the parts of the model.
        call: a function that calls the model.

    Returns:
        Readings in operations, and the result of the call.
    """
    with counting() as counter, read_between(parts, counter.get_total_flops) as readings:
        returned = call()
    return readings, returned


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """A counter of all operations within the ``with`` block."""
    with _FlatLinear(), FlopCounterMode(display=False, custom_mapping=_KERNELS) as counter:  # type: ignore[no-untyped-call]
        yield counter


def total(operations: dict[str, float]) -> float:
    """The operations of the whole call."""
    return sum(operations[phase] for phase in PHASES)


def _attention(kernel: Any) -> Callable[..., int]:
    """The counting function for one of the attention kernels."""
    causal_at = [argument.name for argument in kernel.default._schema.arguments].index("is_causal") - 3

    def count(query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
        causal = named.get("is_causal", rest[causal_at] if len(rest) > causal_at else False)
        batch, heads, queries, width = query
        products: int = 2 * batch * heads * queries * key[-2] * (width + value[-1])
        return products // 2 if causal else products

    return count


def _linear(inputs: Any, weight: Any, *rest: Any, out_shape: Any = None) -> int:
    products: int = 2 * math.prod(inputs) * weight[0]
    return products


_aten = torch.ops.aten


class _FlatLinear(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Runs linear layers as one matrix product, as without a counter.

    In a dispatch mode, torch 2.13 does not fold a batch of single columns, and copies bfloat16 weights for each of
    them: 9 GiB for the head of Audio Flamingo 3 with eight prompts.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not _aten.linear.default:
            return func(*args, **(kwargs or {}))
        inputs, *rest = args
        return func(inputs.reshape(-1, inputs.shape[-1]), *rest).reshape(*inputs.shape[:-1], -1)


_ATTENTION: dict[Any, Any] = {
    kernel: _attention(kernel)
    for kernel in (
        _aten.scaled_dot_product_attention,
        _aten._scaled_dot_product_flash_attention,
        _aten._scaled_dot_product_flash_attention_for_cpu,
        _aten._scaled_dot_product_efficient_attention,
        _aten._scaled_dot_product_cudnn_attention,
    )
}
# The entry by overload stops the counter from decomposing the operator, for _FlatLinear; the one by packet counts it.
_KERNELS = {_aten.linear.default: _linear, _aten.linear: _linear, **_ATTENTION}
