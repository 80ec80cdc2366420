"""A learned compressor for tests: a map to slots that is no assignment, with weights and a buffer to save."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressedAudio, CompressionConfig, register_compressor
from hf_tokcomp.config.registry import _METHODS

CONFIG = {"method": "toy_resampler", "retention_ratio": 0.4}


@dataclass(frozen=True, kw_only=True)
class ToyConfig(CompressionConfig):
    method: str = "toy_resampler"
    dim: int = 32


class ToyResampler(AudioTokenCompressor[ToyConfig]):
    """Means of equal stretches, and one linear layer."""

    learns = True

    def __init__(self, config: ToyConfig, dim: int) -> None:
        super().__init__(config)
        self.mix = nn.Linear(config.dim, config.dim)
        self.register_buffer("scale", torch.ones(1))

    def forward(self, tokens: AudioTokens) -> CompressedAudio:
        counts = self.wanted_counts(tokens)
        width = max(counts, default=0)
        features = tokens.features.new_zeros(len(counts), width, tokens.features.shape[-1])
        positions = torch.arange(width).repeat(len(counts), 1)
        for row, (n, k) in enumerate(zip(tokens.counts, counts, strict=True)):
            edges = [i * n // k for i in range(k + 1)] if k else []
            for slot, (start, end) in enumerate(pairwise(edges)):
                features[row, slot] = tokens.features[row, start:end].mean(0)
                positions[row, slot] = start
        return CompressedAudio(features + self.scale * self.mix(features), counts, positions.to(features.device))


@contextmanager
def registered() -> Iterator[None]:
    """The toy is a method for the length of the block only: other tests go over all methods."""
    register_compressor(ToyConfig)(ToyResampler)
    try:
        yield
    finally:
        del _METHODS["toy_resampler"]


def stir(model: nn.Module, seed: int = 5) -> nn.Module:
    """Weights that differ from any fresh ones, as if trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.normal_(0, 0.3, generator=generator)
    return model
