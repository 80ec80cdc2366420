"""EncoderOptions: how the audio encoder is run. It costs less; how many tokens are left is the budget's business."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EncoderOptions:
    """What the fields of a `CompressionConfig` say about the encoder.

    Args:
        skip_padding: run up to the end of the longest window's sound only.
        stride: positions averaged before the first layer: 1, or the 2 that a token is made of.
        merge: share of the positions that is merged from layer to layer, see `hf_tokcomp.models.encoder.merging`.
    """

    skip_padding: bool = True
    stride: int = 1
    merge: float = 0.0

    @property
    def reduces(self) -> bool:
        """Whether the layers see less than there is, so that the answers change."""
        return self.stride > 1 or self.merge > 0
