"""Numbers that the host knows, on the device, without waiting for the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def on_device(numbers: Sequence[Any], device: torch.device | str) -> Tensor:
    """Integers (nested lists of them, too) as a long tensor on a device.

    ``torch.tensor(numbers, device="cuda")`` waits until the GPU has done all that it was asked for before. A copy that
    need not be waited for does not: so few bytes are taken over at once, and the list may go.

    Args:
        numbers: integers.
        device: where to.
    """
    return torch.tensor(numbers, dtype=torch.long).to(device, non_blocking=True)
