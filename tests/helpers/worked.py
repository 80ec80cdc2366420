"""How the worked examples are written down."""

from __future__ import annotations

from typing import Any

import torch
from drawn_assignments import read_slots

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig


def compress(
    method: str,
    features: list[list[float]] | int,
    attention: list[float] | None = None,
    fields: dict[str, Any] | None = None,
    **options: Any,
) -> list[tuple[list[int], int]]:
    """Members and position of every slot, at 25 tokens per second; a number stands for that many of no matter what.

    ``fields`` are further fields of `AudioTokens` for the one audio, as lists: ``{"keys": [[1.0], ...]}``.
    """
    if isinstance(features, int):
        features = [[float(i)] for i in range(features)]
    scores = None if attention is None else torch.tensor([attention])
    more = {name: torch.tensor([value]) for name, value in (fields or {}).items()}
    tokens = AudioTokens(torch.tensor([features]), torch.tensor([len(features)]), scores, frame_rate=25.0, **more)
    module = AudioTokenCompressor.from_config(CompressionConfig(method=method, **options))
    return [(slot.members, slot.position) for slot in read_slots(module.assign(tokens), 0)]


def kept(*indices: int) -> list[tuple[list[int], int]]:
    return [([i], i) for i in indices]
