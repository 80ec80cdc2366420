"""Operations of the phases of a call: those of its matrix products, convolutions and attention, as they really ran.

A multiplication and the addition of its product are two operations. Attention is two products of all queries with all
keys; where the call says that it is causal, half of them, since that is what kernels do then. Under a padding mask they
do all. Norms, activations and what moves data count as nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ...model_patch import Parts
from .phases import PHASES, Readings, read_between


def count_operations(parts: Parts, call: Callable[[], Any]) -> tuple[Readings, Any]:
    """Count while a call runs.

    Args:
        parts: of the model that is called.
        call: a call of it.

    Returns:
        Readings in operations, and what the call returned.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_ATTENTION)
    with counter, read_between(parts, counter.get_total_flops) as readings:
        returned = call()
    return readings, returned


def total(operations: dict[str, float]) -> float:
    """Of the whole call."""
    return sum(operations[phase] for phase in PHASES)


def _attention(kernel: Any) -> Callable[..., int]:
    """The count for one of the attention kernels."""
    causal_at = [argument.name for argument in kernel.default._schema.arguments].index("is_causal") - 3

    def count(query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
        causal = named.get("is_causal", rest[causal_at] if len(rest) > causal_at else False)
        batch, heads, queries, width = query
        products: int = 2 * batch * heads * queries * key[-2] * (width + value[-1])
        return products // 2 if causal else products

    return count


_aten = torch.ops.aten
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
