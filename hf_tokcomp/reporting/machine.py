"""What timings depend on besides the code: processors, memory, versions, the date and other load."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path
from typing import Any

import torch

from .environment import environment


def machine(device: torch.device) -> dict[str, Any]:
    """A description of the machine that identifies neither it nor its user."""
    versions = environment()
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": memory_gib(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {name: versions[name] for name in ("hf_tokcomp", "torch", "transformers", "python")},
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The model of the processor, if the system reports it."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def memory_gib() -> int | None:
    """The memory of the machine in GiB, if the system reports it."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except (AttributeError, OSError, ValueError):
        return None
