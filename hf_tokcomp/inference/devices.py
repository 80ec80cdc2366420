"""Whether a device that somebody names is there; PyTorch says it late, and with an assertion."""

from __future__ import annotations


def check_device(name: str) -> str:
    """The name itself: ``"auto"``, or a device that this machine has.

    Raises:
        ValueError: PyTorch knows no such device, or this machine has none; the message names those it has.
    """
    if name == "auto":
        return name
    import torch  # takes a second, which the default need not wait for

    try:
        device = torch.device(name)
        count = torch.get_device_module(device).device_count()
    except (RuntimeError, AttributeError) as error:  # no name at all; or one that computes nothing, such as meta
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
