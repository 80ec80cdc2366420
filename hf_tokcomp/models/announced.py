"""What a patched processor says of the audio beside its features, for the model to know which prompt it has."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

WINDOWS = "audio_windows"
"""Keyword, and key of a patched processor's output: windows of each audio ``(audios,)``."""
PLACEHOLDERS = "audio_placeholders"
"""Keyword, and key of a patched processor's output: placeholders that it wrote for each audio ``(audios,)``."""


class Announced(NamedTuple):
    """What a patched processor says of the audio; None where nothing was said.

    Args:
        windows: windows of each audio.
        placeholders: placeholders written for each audio.
    """

    windows: list[int] | None = None
    placeholders: list[int] | None = None

    @classmethod
    def taken_from(cls, inputs: dict[str, Any]) -> Announced:
        """Taken out of a call's keywords, which upstream does not know."""
        return cls(_integers(inputs.pop(WINDOWS, None)), _integers(inputs.pop(PLACEHOLDERS, None)))


def _integers(values: Any) -> list[int] | None:
    return None if values is None else [int(n) for n in torch.as_tensor(values).flatten().tolist()]
