"""average_pooling: the mean of equal stretches of time (arXiv 2511.20973)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..config.config import CompressionConfig
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class AveragePoolingConfig(CompressionConfig):
    """Config of uniform average pooling, which has no options besides the budget.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.AveragePoolingConfig(retention_ratio=1 / 3))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [42]
    """

    method: str = "average_pooling"


@register_compressor(AveragePoolingConfig)
class AveragePooling(AudioTokenCompressor[AveragePoolingConfig]):
    """Averages K equal stretches of time.

    Source: uniform average pooling, arXiv 2511.20973. Token i of N goes to slot ``i * K // N``, which is pooling with
    stride 2 or 3 if N is a multiple of it; no source covers other lengths, so that rule is our reading.
    """

    family = "pooling"
    source = "arXiv 2511.20973"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        lengths = on_device(counts, tokens.features.device)
        index = torch.arange(tokens.features.shape[1], device=tokens.features.device)
        slot = index * lengths[:, None] // tokens.lengths[:, None]
        return Assignment.mean(torch.where(tokens.mask, slot, -1), lengths, max(counts))
