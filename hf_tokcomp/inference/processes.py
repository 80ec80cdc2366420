"""The state of this process among those started by `accelerate launch` or `torchrun`."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def process() -> PartialState:
    """The shared process state.

    Without an accelerator, the state is explicitly set up for CPU; otherwise accelerate would not connect the processes
    and each would do all of the work. The timeout is very long, because one process may still have hours of work left
    when another has finished.

    Raises:
        RuntimeError: several processes were started, but they are not connected.
    """
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    state = PartialState(cpu=on_cpu, timeout=timedelta(days=7))
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if state.num_processes != started:
        raise RuntimeError(
            f"{started} processes were started, and this one knows of {state.num_processes}: accelerate's state "
            "was made before. To compute on CPUs beside GPUs set ACCELERATE_USE_CPU=1 at the start."
        )
    return state
