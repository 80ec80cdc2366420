"""AudioTokens: everything a method may look at, for a batch of whole audios."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

NEEDS = frozenset({"attention", "keys", "query", "projected"})
"""What a method may declare in `AudioTokenCompressor.requires`; nothing is computed that was not asked for."""


@dataclass(eq=False)
class AudioTokens:
    """A right-padded batch of audios in encoder space.

    Args:
        features: ``(audios, tokens, dim)``; what lies beyond an audio's length is padding.
        lengths: ``(audios,)`` tokens of each audio, all its windows together; a tensor or a list of integers.
        attention: ``(audios, tokens)`` float32, attention received in the encoder's last layer, mean 1 per window.
        keys: ``(audios, tokens, head_dim)``, the last layer's keys averaged over heads.
        query: ``(audios, words, hidden)``, the embedded text of the user's question.
        projected: ``(audios, tokens, hidden)``, the features in the language model's space.
        frame_rate: tokens per second.
        counts: `lengths` as plain integers, for a caller who has them; read from the device otherwise.
    """

    features: Tensor
    lengths: Tensor
    attention: Tensor | None = None
    keys: Tensor | None = None
    query: Tensor | None = None
    projected: Tensor | None = None
    frame_rate: float = 25.0
    counts: list[int] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.counts is None:
            self.counts = torch.as_tensor(self.lengths).tolist()
        self.lengths = torch.as_tensor(self.lengths, device=self.features.device)
        if self.features.dim() != 3 or self.features.shape[0] != len(self.counts):
            raise ValueError(
                f"features must be (audios, tokens, dim) with one length per audio; got {tuple(self.features.shape)} "
                f"and {len(self.counts)} lengths."
            )
        if any(not 0 <= n <= self.features.shape[1] for n in self.counts):
            raise ValueError(f"lengths {self.counts} do not fit features of {self.features.shape[1]} tokens.")

    @cached_property
    def mask(self) -> Tensor:
        """``(audios, tokens)`` bool, True where there is sound and no padding."""
        return torch.arange(self.features.shape[1], device=self.features.device) < self.lengths[:, None]

    def need(self, name: str) -> Tensor:
        """The optional field ``name``.

        Raises:
            ValueError: it was not supplied; a compressor must name it in ``requires``.
        """
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"This method needs `{name}`; name it in the compressor's `requires` or pass it along.")
        return value  # type: ignore[no-any-return]

    def select(self, rows: list[int]) -> AudioTokens:
        """Only these audios, cut to the longest of them."""
        counts = [self.counts[row] for row in rows]
        width = max(counts, default=0)
        index = torch.tensor(rows, device=self.features.device)
        values: dict[str, Any] = {
            f.name: value[index] if f.name == "query" else value[index, :width]
            for f in dataclasses.fields(self)
            if f.name != "lengths" and isinstance(value := getattr(self, f.name), Tensor)
        }
        return dataclasses.replace(self, lengths=self.lengths[index], counts=counts, **values)
