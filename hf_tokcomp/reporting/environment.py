"""What results depend on besides the settings: versions, machine and weights."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = ("hf_tokcomp", "transformers", "torch", "accelerate", "peft", "datasets", "evaluate")
LOOKED_AT = 16
"""Number of values of each tensor used for the digest; training changes all of them."""


def environment() -> dict[str, str | int | None]:
    """Versions and a description of the machine that does not identify it."""
    from .._version import __version__

    found: dict[str, str | int | None] = {"hf_tokcomp": __version__}
    for package in PACKAGES[1:]:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found | {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def place(model: Any) -> dict[str, str | None]:
    """Where a model runs."""
    device = torch.device(model.device)
    return {
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cuda": torch.version.cuda,
    }


def weights_digest(model: Any) -> str:
    """A digest of the first values of each weight tensor, since a name does not identify a model's weights.

    It is the same on every device. Tensors without data (offloaded ones) are skipped.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if name.startswith("audio_compressor.") or not isinstance(value, torch.Tensor) or value.device.type == "meta":
            continue
        few = value.detach().reshape(-1)[:LOOKED_AT].cpu()
        few = few.float() if few.is_floating_point() else few
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(few.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
