"""The audio inputs of a call, as a patch reads them, and the windows passed to the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..ops.device import on_device


@dataclass(frozen=True, eq=False)
class AudioInputs:
    """The audio inputs of a call, before anything is computed or read from the device.

    Args:
        features: ``(windows, ...)``, the encoder's input.
        frames: ``(windows,)`` long, number of valid frames in each window; tokens if ``counts_tokens``.
        mask: ``(windows, frames)`` as given; None if the model takes no mask.
        full: number of frames of a window whose audio may continue in the next one; None if each window is an audio.
        windows: number of windows of each audio, if the call says so.
        counts_tokens: whether ``frames`` already holds token counts, computed by the processor.
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
        frames: number of valid frames in each window.
        mask: ``(windows, frames)``, or None if the model takes no mask.
        numbers: index of each window within its audio, from 0.
    """

    features: Tensor
    frames: list[int]
    mask: Tensor | None
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.frames)

    def select(self, rows: list[int]) -> Windows:
        """Return only these windows."""
        index = on_device(rows, self.features.device)
        mask = None if self.mask is None else self.mask[index.to(self.mask.device)]
        frames, numbers = ([values[row] for row in rows] for values in (self.frames, self.numbers))
        return Windows(self.features[index], frames, mask, numbers)


def masked_audio(call: Mapping[str, Any], features: str, mask: str | None, spans: bool) -> AudioInputs:
    """The audio inputs of a call with features ``(windows, bins, frames)`` and a frame mask ``(windows, frames)``.

    Args:
        call: a call's keywords, or a processor's output.
        features: name of the keyword with the features.
        mask: name of the keyword with the mask; None for a model that takes no mask and reads whole windows.
        spans: whether an audio that fills a window may continue in the next one.

    Raises:
        ValueError: the model takes a mask, but none was given.
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
