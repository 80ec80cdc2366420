"""AudioTokens: all inputs of a method, for a batch of whole audios."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..config.checks import known_rate
from .device import on_device

PER_TOKEN = ("attention", "attention_max", "attention_peak", "attention_self", "keys", "projected")
"""Optional fields with one value per token."""
NEEDS = frozenset({*PER_TOKEN, "query", "first_layer"})
"""What a method may declare in `AudioTokenCompressor.requires`; nothing else is computed."""


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """The weights with which the language model's first layer computes queries and keys, without biases.

    Args:
        query: ``(heads * head_dim, hidden)`` weights.
        key: ``(key_heads * head_dim, hidden)`` weights.
        heads: attention heads.
        key_heads: heads of the keys, a divisor of ``heads`` (grouped queries).
    """

    query: Tensor
    key: Tensor
    heads: int
    key_heads: int


@dataclass(eq=False)
class AudioTokens:
    """A right-padded batch of audios in encoder space.

    Args:
        features: ``(audios, tokens, dim)``; values beyond an audio's length are padding.
        lengths: ``(audios,)`` tokens of each audio, all windows together; a tensor or a list of integers.
        attention: ``(audios, tokens)`` float32, attention received in the encoder's last layer, averaged over heads;
            mean 1 per window.
        attention_max: the same, but the largest of the heads instead of their mean.
        attention_peak: ``(audios, tokens)`` float32, the sum over queries of the largest attention of any head.
        attention_self: ``(audios, tokens)`` float32, the attention a token pays to itself, averaged over heads.
        keys: ``(audios, tokens, head_dim)``, the last layer's keys averaged over heads.
        query: ``(audios, words, hidden)``, the embedded text of the user's question, right-padded.
        query_lengths: ``(audios,)`` words of each question; None if all are as long as ``query``.
        projected: ``(audios, tokens, hidden)``, the features in the language model's space.
        first_layer: the language model's first layer.
        frame_rate: tokens per second; a list if the audios differ; None if unknown, which methods that count by time
            refuse.
        counts: `lengths` as integers, if the caller knows them; otherwise they are read from the device.

    Example:
        >>> tokens = hf_tokcomp.AudioTokens(torch.randn(2, 100, 64), lengths=[100, 60])
        >>> tokens.mask.sum(1).tolist()
        [100, 60]
    """

    features: Tensor
    lengths: Tensor
    attention: Tensor | None = None
    attention_max: Tensor | None = None
    attention_peak: Tensor | None = None
    attention_self: Tensor | None = None
    keys: Tensor | None = None
    query: Tensor | None = None
    query_lengths: Tensor | None = None
    projected: Tensor | None = None
    first_layer: FirstLayer | None = None
    frame_rate: float | list[float] | list[float | None] | None = None
    counts: list[int] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.counts is None:
            self.counts = torch.as_tensor(self.lengths).tolist()
        self.lengths = torch.as_tensor(self.lengths).to(self.features.device, non_blocking=True)
        self._slots: list[tuple[object, list[int]]] = []
        if self.features.dim() != 3 or self.features.shape[0] != len(self.counts):
            raise ValueError(
                f"features must be (audios, tokens, dim) with one length per audio; got {tuple(self.features.shape)} "
                f"and {len(self.counts)} lengths."
            )
        if any(not 0 <= n <= self.features.shape[1] for n in self.counts):
            raise ValueError(f"lengths {self.counts} do not fit features of {self.features.shape[1]} tokens.")

    @cached_property
    def mask(self) -> Tensor:
        """``(audios, tokens)`` bool, False for padding."""
        return torch.arange(self.features.shape[1], device=self.features.device) < self.lengths[:, None]

    @property
    def frame_rates(self) -> list[float | None]:
        """Tokens per second of each audio; None if unknown."""
        return list(self.frame_rate) if isinstance(self.frame_rate, list) else [self.frame_rate] * len(self.counts)

    def known_rates(self, option: str) -> list[float]:
        """Tokens per second of each audio.

        Args:
            option: the option that counts by time, for the error.

        Raises:
            ValueError: they are unknown.
        """
        return [known_rate(rate, option) for rate in self.frame_rates]

    def slots_for(self, config: object, count: Callable[[], list[int]]) -> list[int]:
        """The slots of each audio under a config, computed once and then cached.

        Tokens derived from these do not share the cache.

        Args:
            config: the key of the cache, compared by identity.
            count: computes the counts.
        """
        for known, slots in self._slots:
            if known is config:
                return list(slots)
        slots = count()
        self._slots.append((config, slots))
        return list(slots)

    def need(self, name: str) -> Tensor:
        """The optional field ``name``.

        Raises:
            ValueError: it was not supplied; a compressor must list it in ``requires``.
        """
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"This method needs `{name}`; list it in the compressor's `requires`, or pass it in.")
        return value  # type: ignore[no-any-return]

    def similarity_space(self, name: str) -> Tensor:
        """``(audios, tokens, dim)``: the vectors that a method with an option ``similarity`` compares.

        Args:
            name: ``"features"``, ``"keys"`` or ``"projected"``.
        """
        return self.features if name == "features" else self.need(name)

    def select(self, rows: list[int]) -> AudioTokens:
        """Select audios, cut to the longest of them."""
        counts = [self.counts[row] for row in rows]
        width = max(counts, default=0)
        index = on_device(rows, self.features.device)
        values: dict[str, Any] = {
            name: value[index, :width]
            for name in ("features", *PER_TOKEN)
            if (value := getattr(self, name)) is not None
        }
        values |= {
            name: value[index]
            for name in ("lengths", "query", "query_lengths")
            if (value := getattr(self, name)) is not None
        }
        if isinstance(self.frame_rate, list):
            values["frame_rate"] = [self.frame_rate[row] for row in rows]
        return dataclasses.replace(self, counts=counts, **values)
