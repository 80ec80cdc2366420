"""Check that a requested device exists; PyTorch itself only fails later, with an assertion error."""

from __future__ import annotations


def check_device(name: str) -> str:
    """Return the name unchanged if it is ``"auto"`` or a device of this machine.

    Raises:
        ValueError: PyTorch knows no such device, or this machine does not have it; the message lists those it has.
    """
    if name == "auto":
        return name
    import torch  # takes a second, which the default case can skip

    try:
        device = torch.device(name)
        count = torch.get_device_module(device).device_count()
    except (RuntimeError, AttributeError) as error:  # not a device name, or a device that cannot compute, such as meta
        raise ValueError(f"There is no device {name!r}. {_there()}") from error
    if count == 0:
        raise ValueError(f"This machine has no device {name!r} that PyTorch {torch.__version__} can use. {_there()}")
    if device.index is not None and device.index >= count:
        raise ValueError(f"This machine has no device {name!r}, but {count} of the kind {device.type}. {_there()}")
    return name


def _there() -> str:
    import torch

    names = ["auto", "cpu"]
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        names += [f"{kind.type}:{index}" for index in range(torch.accelerator.device_count())] if kind else []
    return f"There are: {', '.join(names)}."
