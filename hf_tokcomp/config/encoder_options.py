"""EncoderOptions: how the audio encoder runs, which affects its cost but not the number of tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EncoderOptions:
    """The encoder options of a `CompressionConfig`.

    Args:
        skip_padding: stop at the end of the sound in the longest window.
        stride: positions averaged before the first layer: 1, or the 2 that form a token.
        merge: share of the positions that are merged between layers, see `hf_tokcomp.models.encoder.merging`.
    """

    skip_padding: bool = True
    stride: int = 1
    merge: float = 0.0

    @property
    def reduces(self) -> bool:
        """Whether the layers process fewer positions, which changes the answers."""
        return self.stride > 1 or self.merge > 0
