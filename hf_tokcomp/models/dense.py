"""The weight of a linear layer as a plain floating-point tensor, however it is stored."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..errors import CompressorOutputError


def dense_weight(layer: Any) -> Tensor:
    """A layer's weight ``(out, in)``, without adapters, and dequantised if it was quantised by bitsandbytes.

    Raises:
        CompressorOutputError: the weight is offloaded, sharded, or quantised in a way that is not supported.
    """
    layer = getattr(layer, "base_layer", layer)
    weight: Tensor | None = getattr(layer, "weight", None)
    if weight is not None and weight.is_meta:
        raise CompressorOutputError(
            "This method reads the language model's first layer, whose weights are offloaded; keep that layer on a "
            "device (`device_map`)."
        )
    if hasattr(weight, "quant_state") or hasattr(weight, "SCB"):
        from transformers.integrations.bitsandbytes import dequantize_bnb_weight

        return dequantize_bnb_weight(weight, getattr(layer, "state", None))  # type: ignore[no-any-return]
    if weight is not None and weight.is_floating_point() and weight.dim() != 2:
        raise CompressorOutputError(
            "This method reads the language model's first layer, whose weights are sharded; gather them first, or do "
            "not shard that layer."
        )
    if weight is None or not weight.is_floating_point():
        raise CompressorOutputError(
            f"This method reads the language model's first layer, and cannot unpack the weights of a "
            f"{type(layer).__name__}; load the model without quantisation or with bitsandbytes."
        )
    return weight
