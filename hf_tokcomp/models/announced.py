"""What a patched processor tells the model about the audio besides its features, so that it can read the prompt."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple
from weakref import WeakSet

import torch

logger = logging.getLogger(__name__)

WINDOWS = "audio_windows"
"""Keyword, and key in a patched processor's output: the number of windows of each audio ``(audios,)``.

Without it, a model whose audio does not span windows by itself reads each window as an audio of its own."""
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


_WARNED: WeakSet[Any] = WeakSet()
"""The models that have said it."""


def warn_of_separate_windows(model: Any, some_full: bool) -> None:
    """Log a warning, once per model, that windows are read as separate audios although they were to be joined.

    Args:
        model: the model, whose config has ``long_audio="windows"`` and whose call does not say `WINDOWS`.
        some_full: whether a window is full. If none is, nothing was split and nothing was cut off.
    """
    if some_full and model not in _WARNED:
        _WARNED.add(model)
        logger.warning(
            "The compression has long_audio='windows', but the inputs have no `%s`: every window is an audio of its "
            "own, and a processor that is not patched cuts off what is longer than one. Patch the processor, too, with "
            "the same compression, and pass on all it returns. Shown once.",
            WINDOWS,
        )


def _integers(values: Any) -> list[int] | None:
    return None if values is None else [int(n) for n in torch.as_tensor(values).flatten().tolist()]
