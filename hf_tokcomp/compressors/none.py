"""none: every token is kept; without encoder options the patched model calls the original code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..config.config import CompressionConfig
from ..errors import CompressionConfigError
from .base import AudioTokenCompressor, register_compressor


@dataclass(frozen=True, kw_only=True)
class NoneConfig(CompressionConfig):
    """Config of keeping all tokens. Takes no budget; bit for bit the unpatched model, unless an encoder option is set.

    Raises:
        CompressionConfigError: ``long_audio="windows"`` or ``padding_seconds``, which upstream does not know.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.NoneConfig())
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [127]
    """

    method: str = "none"
    skip_padding: bool = False
    default_retention_ratio: ClassVar[float | None] = None
    accepts_budget: ClassVar[bool] = False
    accepts_chunks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.long_audio != "cut":
            raise CompressionConfigError(
                f"'none' is upstream's model, which does not read long audio in windows; leave out long_audio="
                f"{self.long_audio!r}. To keep all tokens of all windows, use a method that drops none: "
                "{'method': 'stride', 'retention_ratio': 1.0, 'long_audio': 'windows'}."
            )
        if self.padding_seconds is not None:
            raise CompressionConfigError(
                "'none' is upstream's model, which reads all of the padding; leave out padding_seconds. To keep all "
                "tokens of the sound, use a method that drops none: {'method': 'stride', 'retention_ratio': 1.0}."
            )


@register_compressor(NoneConfig)
class NoCompression(AudioTokenCompressor[NoneConfig]):
    """Keeps all tokens: bit for bit the unpatched model.

    The base class's identity for K >= N is all it needs, so there is no `assign_slots`.
    """
