"""What a call carries of audio, as a patch reads it, and the windows that its encoder is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..ops.device import on_device


@dataclass(frozen=True, eq=False)
class AudioInputs:
    """What a call says of its audio, before anything is computed or read from the device.

    Args:
        features: ``(windows, ...)``, what the encoder takes.
        frames: ``(windows,)`` long, valid frames of each window; tokens under ``counts_tokens``.
        mask: ``(windows, frames)`` as it was given; None where the model takes none.
        full: frames of a window whose audio may go on in the next one; None where each window is an audio.
        windows: windows of each audio, where the call says.
        counts_tokens: whether ``frames`` are tokens already, as a processor has counted them.
    """

    features: Tensor
    frames: Tensor
    mask: Tensor | None = None
    full: int | None = None
    windows: list[int] | None = None
    counts_tokens: bool = False


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows for the encoder.

    Args:
        features: ``(windows, ...)`` as in `AudioInputs`.
        frames: valid frames of each window.
        mask: ``(windows, frames)``, or None where the model takes none.
        numbers: which window of its audio each one is, from 0.
    """

    features: Tensor
    frames: list[int]
    mask: Tensor | None
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.frames)

    def select(self, rows: list[int]) -> Windows:
        """Only these windows."""
        index = on_device(rows, self.features.device)
        mask = None if self.mask is None else self.mask[index.to(self.mask.device)]
        frames, numbers = ([values[row] for row in rows] for values in (self.frames, self.numbers))
        return Windows(self.features[index], frames, mask, numbers)


def masked_audio(call: Mapping[str, Any], features: str, mask: str | None, spans: bool) -> AudioInputs:
    """The audio of a call with features ``(windows, bins, frames)`` and a mask of frames ``(windows, frames)``.

    Args:
        call: a call's keywords, or what a processor returned.
        features: the keyword with the features.
        mask: the keyword with the mask; None for a model that takes none and reads whole windows.
        spans: whether an audio may go on in the next window, where it fills one.

    Raises:
        ValueError: there is no mask where the model takes one.
    """
    given = torch.as_tensor(call[features])
    width = given.shape[-1]
    full = width if spans else None
    if mask is None:
        return AudioInputs(given, torch.full((len(given),), width, device=given.device), full=full)
    if call.get(mask) is None:
        raise ValueError(f"Pass `{mask}` beside `{features}`, as the processor returns it.")
    frame_mask = torch.as_tensor(call[mask])
    return AudioInputs(given, frame_mask.ne(0).sum(-1), frame_mask, full)
