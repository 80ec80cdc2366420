"""random: tokens drawn uniformly, the baseline every method has to beat (arXiv 2511.14293, table 3)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from ..config.checks import option
from ..config.config import CompressionConfig
from ..ops.assignment import Assignment
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class RandomConfig(CompressionConfig):
    """Config of random pruning.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.RandomConfig(retention_ratio=0.5, seed=1))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [64]
    """

    method: str = "random"
    seed: int = option(0, at_least=0, help="the draw depends on the seed, N and K alone; compare several seeds")
    accepts_chunks: ClassVar[bool] = False


@register_compressor(RandomConfig)
class Random(AudioTokenCompressor[RandomConfig]):
    """Keeps K tokens drawn uniformly without replacement.

    Source: the random baseline of arXiv 2511.14293, table 3. The draw depends only on (seed, N, K) and is made on the
    CPU, so it depends neither on an audio's place in a batch nor on the device (our reading).
    """

    family = "pruning"
    source = "arXiv 2511.14293, table 3"

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        width = tokens.features.shape[1]
        draws = [_draw(self.config.seed, n, k) for n, k in zip(tokens.counts, counts, strict=True)]
        kept = torch.stack([torch.nn.functional.pad(draw, (0, width - draw.numel())) for draw in draws])
        lengths = on_device(counts, tokens.features.device)
        return Assignment.keep(kept.to(tokens.features.device), lengths, max(counts))


@lru_cache(maxsize=4096)
def _draw(seed: int, n: int, k: int) -> Tensor:
    """``(n,)`` bool with k True."""
    digest = hashlib.blake2b(f"{seed}/{n}/{k}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    kept = torch.zeros(n, dtype=torch.bool)
    kept[torch.randperm(n, generator=generator)[:k]] = True
    return kept
