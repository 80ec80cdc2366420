"""stride: keep tokens at equal steps (arXiv 2511.20973, arXiv 2608.30927)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..config.config import CompressionConfig
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class StrideConfig(CompressionConfig):
    """Config of uniform sampling, which has no options besides the budget.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.StrideConfig(retention_ratio=0.5))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [64]
    """

    method: str = "stride"


@register_compressor(StrideConfig)
class Stride(AudioTokenCompressor[StrideConfig]):
    """Keeps K tokens at equal steps, the first one included.

    Source: sampling in arXiv 2511.20973 (known to us from summaries) and Stride-k, arXiv 2608.30927, which also strides
        the
    encoder's input; that part is not a compressor. The tokens at ``ceil(k * N / K)`` are kept, k = 0..K-1: at
    K = ceil(N / 2) exactly every second one, and always the first of each slot of `average_pooling` (our reading).
    """

    family = "sampling"
    source = "arXiv 2511.20973, arXiv 2608.30927"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        lengths = on_device(counts, tokens.features.device)
        index = torch.arange(tokens.features.shape[1], device=tokens.features.device)
        slot = index * lengths[:, None] // tokens.lengths[:, None]
        # ceil(k * N / K) is the first index whose slot under `i * K // N` is k.
        first = torch.cat([torch.ones_like(slot[:, :1], dtype=torch.bool), slot[:, 1:] > slot[:, :-1]], dim=1)
        return Assignment.keep(first & tokens.mask, lengths, max(counts))
