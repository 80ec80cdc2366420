"""conv_resampler: convolutions over time, then a learned weighted mean of equal stretches (ours)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config.checks import option
from ..ops.assignment import sum_per_slot
from .base import register_compressor
from .learned import EqualStretches, LearnedCompressor, LearnedConfig, softmax_per_slot, starts_at_zero


@dataclass(frozen=True, kw_only=True)
class ConvResamplerConfig(LearnedConfig):
    """Config of the convolutional resampler.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.ConvResamplerConfig(retention_ratio=0.25))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [32]
    """

    method: str = "conv_resampler"
    layers: int = option(2, at_least=1, at_most=16, help="residual layers of convolutions")
    kernel_size: int = option(
        5, at_least=1, at_most=255, help="tokens that a convolution sees; of an even number one more behind than before"
    )


class ConvLayer(nn.Module):
    """``x + pointwise(gelu(depthwise(norm(x))))``, with zeros around every audio."""

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.around = ((kernel_size - 1) // 2, kernel_size // 2)
        self.depthwise = nn.Conv1d(dim, dim, kernel_size, groups=dim)
        self.pointwise = nn.Linear(dim, dim)
        starts_at_zero(self.pointwise)

    def forward(self, features: Tensor, mask: Tensor, dtype: torch.dtype) -> Tensor:
        # Padding is zeroed after the norm, whose bias would change it, so that it looks like the audio's end.
        seen = torch.where(mask[..., None], self.norm(features.to(dtype)), 0)
        mixed = self.depthwise(nn.functional.pad(seen.transpose(1, 2), self.around)).transpose(1, 2)
        added: Tensor = self.pointwise(nn.functional.gelu(mixed))
        return features + added


@register_compressor(ConvResamplerConfig)
class ConvResampler(LearnedCompressor[ConvResamplerConfig]):
    """Learns convolutions over time, and the weights of the mean of K equal stretches.

    Source: ours. Convolutions with a stride, the usual adapter of speech models, have one ratio built in; here the
    convolutions preserve the length, and the tokens of slot ``i * K // N`` are averaged with weights that are the
    softmax of a learned score, so the same weights serve every budget. The pointwise convolutions and the score start
    at zero: before training the features are exactly those of `average_pooling`.
    """

    def __init__(self, config: ConvResamplerConfig, dim: int) -> None:
        super().__init__(config, dim)
        self.layers = nn.ModuleList(ConvLayer(dim, config.kernel_size) for _ in range(config.layers))
        # A bias, here or of the score, would be the same for all tokens, and cancel in the softmax.
        self.norm = nn.LayerNorm(dim, bias=False)
        self.score = nn.Linear(dim, 1, bias=False)
        starts_at_zero(self.score)

    def resample(self, features: Tensor, stretches: EqualStretches, dtype: torch.dtype) -> Tensor:
        for layer in self.layers:
            features = layer(features, stretches.slot >= 0, dtype)
        score = self.score(self.norm(features.to(dtype))).to(features.dtype)
        weight = softmax_per_slot(score, stretches.slot, stretches.width)
        return sum_per_slot(weight * features, stretches.slot, stretches.width)
