"""Base classes of compressors that learn, whose slots are equal stretches of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from ..config.config import CompressionConfig
from ..ops.assignment import sum_per_slot
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from ..ops.record import CompressedAudio
from .base import AudioTokenCompressor

ConfigType = TypeVar("ConfigType", bound=CompressionConfig)


@dataclass(frozen=True, kw_only=True)
class LearnedConfig(CompressionConfig):
    """Base class of the configs of compressors that learn. Their options are sizes of weights, never a ratio.

    Sizes have an ``at_most``, so that an untrusted config cannot exhaust the memory.
    """

    accepts_chunks: ClassVar[bool] = False


@dataclass(eq=False)
class EqualStretches:
    """Every audio's slots as equal stretches of time: token i of N is in slot ``i * K // N``, as in average_pooling.

    Args:
        slot: ``(audios, tokens)`` long, each token's slot, -1 for padding.
        before: ``(audios, 1)`` long, N of each audio.
        after: ``(audios, 1)`` long, K of each audio.
        width: the largest K.
    """

    slot: Tensor
    before: Tensor
    after: Tensor
    width: int

    @classmethod
    def of(cls, features: Tensor, before: list[int], after: list[int]) -> EqualStretches:
        """The stretches of audios with ``before`` tokens each, cut into ``after`` slots."""
        lengths = on_device([before, after], features.device)[..., None]
        index = torch.arange(features.shape[1], device=features.device)
        slot = torch.where(index < lengths[0], index * lengths[1] // lengths[0].clamp(min=1), -1)
        return cls(slot, lengths[0], lengths[1], max([0, *after]))

    @property
    def index(self) -> Tensor:
        """``(width,)`` long: the slots' numbers."""
        return torch.arange(self.width, device=self.slot.device)

    @property
    def real(self) -> Tensor:
        """``(audios, width)`` bool, False for padding."""
        return self.index < self.after

    @property
    def position(self) -> Tensor:
        """``(audios, width)`` long: the token in the middle of each slot, ``floor((k + 0.5) * N / K)``; 0 beyond."""
        middle = (2 * self.index + 1) * self.before // (2 * self.after).clamp(min=1)
        return torch.where(self.real, middle, 0)

    @property
    def span(self) -> Tensor:
        """``(audios, width, 2)`` long: each slot's first token, and the one after its last."""
        edges = torch.stack([self.index, self.index + 1], -1) * self.before[..., None]
        return torch.where(self.real[..., None], -(-edges // self.after.clamp(min=1)[..., None]), 0)

    def mean(self, features: Tensor) -> Tensor:
        """``(audios, width, dim)``: the plain mean of every slot."""
        size = (self.span[..., 1] - self.span[..., 0]).clamp(min=1)
        return sum_per_slot(features, self.slot, self.width) / size[..., None]


class LearnedCompressor(AudioTokenCompressor[ConfigType]):
    """Base class of methods that learn: the same weights for any budget, and the identity if nothing gets shorter.

    A method overrides `resample`. Weights are as wide as the features, which the model's patch knows, and are drawn
    from torch's global generator when the model is patched.

    Args:
        config: the config.
        dim: width of the features.
    """

    family = "learned"
    preserves_mass = False
    learns = True

    def __init__(self, config: ConfigType, dim: int) -> None:
        super().__init__(config)
        self.dim = dim

    def resample(self, features: Tensor, stretches: EqualStretches, dtype: torch.dtype) -> Tensor:
        """The method itself, for audios of at least two tokens that get shorter.

        Args:
            features: ``(audios, tokens, dim)`` in float32 (or wider), zero beyond an audio's tokens.
            stretches: which token belongs to which slot.
            dtype: of the weights.

        Returns:
            ``(audios, slots, dim)``; values beyond an audio's slots are ignored.
        """
        raise NotImplementedError(f"{type(self).__name__} must override `resample`.")

    def forward(self, tokens: AudioTokens) -> CompressedAudio:
        """Compress a batch of audios; gradients flow to the features and to all weights."""
        counts = self.wanted_counts(tokens)
        whole = EqualStretches.of(tokens.features, tokens.counts, counts)
        rows = [i for i, (n, k) in enumerate(zip(tokens.counts, counts, strict=True)) if k != n]
        out = tokens.features[:, : whole.width]
        if rows:
            index = on_device(rows, out.device)
            before, after = [tokens.counts[row] for row in rows], [counts[row] for row in rows]
            part = self._resampled(tokens.features[index, : max(before)], before, after)
            out = out.index_copy(0, index, nn.functional.pad(part, (0, 0, 0, whole.width - part.shape[1])))
        elif torch.is_grad_enabled():
            # Distributed training waits for the gradient of every weight, even if no audio gets shorter.
            unused = sum((weight.sum() for weight in self.parameters() if weight.requires_grad), torch.zeros(()))
            out = out + (0 * unused).to(out)
        out = out.masked_fill(~whole.real[..., None], 0)
        return CompressedAudio(out, counts, whole.position, span=whole.span)

    def _resampled(self, features: Tensor, before: list[int], after: list[int]) -> Tensor:
        """``(audios, slots, dim)`` of audios that all get shorter, in the features' dtype and on their device."""
        weight = next(self.parameters())
        # The compressor is on the model's first device, which may not be the encoder's.
        wide = features.to(weight.device, torch.promote_types(features.dtype, torch.float32))
        stretches = EqualStretches.of(wide, before, after)
        out = self.resample(wide.masked_fill((stretches.slot < 0)[..., None], 0), stretches, weight.dtype)
        return out.to(features)


def softmax_per_slot(logits: Tensor, slot: Tensor, width: int) -> Tensor:
    """Softmax over the members of a slot, separately for every head.

    Args:
        logits: ``(audios, entries, heads)`` float32.
        slot: ``(audios, entries)`` each entry's slot; -1 for an entry without one, which gets the weight 0.
        width: number of slots.
    """
    target = torch.where(slot >= 0, slot, width)[..., None].expand_as(logits)
    room = logits.new_zeros(logits.shape[0], width + 1, logits.shape[2])
    largest = room.scatter_reduce(1, target, logits.detach(), "amax", include_self=False)
    value = (logits - largest.gather(1, target)).exp()
    value = torch.where(slot[..., None] >= 0, value, 0)
    total = room.scatter_add(1, target, value)
    return value / torch.where(slot[..., None] >= 0, total.gather(1, target), 1)


def starts_at_zero(layer: nn.Module) -> None:
    """Zero a layer's weights, so that the branch it ends adds nothing before training."""
    for weight in layer.parameters():
        nn.init.zeros_(weight)
