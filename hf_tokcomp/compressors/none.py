"""none: every token is kept; the patched model calls the original code with the original arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..compressor import AudioTokenCompressor
from ..config import CompressionConfig
from ..registry import register_compressor


@dataclass(frozen=True, kw_only=True)
class NoneConfig(CompressionConfig):
    """Keep all tokens. Takes no budget."""

    method: str = "none"
    default_retention_ratio: ClassVar[float | None] = None
    accepts_budget: ClassVar[bool] = False
    accepts_chunks: ClassVar[bool] = False


@register_compressor(NoneConfig)
class NoCompression(AudioTokenCompressor[NoneConfig]):
    """Keeps all tokens: bit for bit the unpatched model.

    The base class's identity for K >= N is all there is to it, so there is no `assign_slots`.
    """
