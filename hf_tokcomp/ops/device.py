"""Copying numbers from the host to the device without synchronizing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def on_device(numbers: Sequence[Any], device: torch.device | str) -> Tensor:
    """Integers (nested lists of them, too) as a long tensor on a device.

    ``torch.tensor(numbers, device="cuda")`` waits until the GPU has finished all earlier work. A non-blocking copy does
    not: this few bytes are staged at once, so the list may be freed.

    Args:
        numbers: integers.
        device: the target device.
    """
    return torch.tensor(numbers, dtype=torch.long).to(device, non_blocking=True)
