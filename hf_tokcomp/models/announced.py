"""What a patched processor tells the model about the audio besides its features, so that it can read the prompt."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

WINDOWS = "audio_windows"
"""Keyword, and key in a patched processor's output: the number of windows of each audio ``(audios,)``."""
PLACEHOLDERS = "audio_placeholders"
"""Keyword, and key in a patched processor's output: the number of placeholders written per audio ``(audios,)``."""


class Announced(NamedTuple):
    """What a patched processor says about the audio; None for what it did not say.

    Args:
        windows: number of windows of each audio.
        placeholders: number of placeholders written for each audio.
    """

    windows: list[int] | None = None
    placeholders: list[int] | None = None

    @classmethod
    def taken_from(cls, inputs: dict[str, Any]) -> Announced:
        """Pop these values from a call's keywords, since upstream does not accept them."""
        return cls(_integers(inputs.pop(WINDOWS, None)), _integers(inputs.pop(PLACEHOLDERS, None)))


def _integers(values: Any) -> list[int] | None:
    return None if values is None else [int(n) for n in torch.as_tensor(values).flatten().tolist()]
