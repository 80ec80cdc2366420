"""This process among those that `accelerate launch` or `torchrun` started."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def process() -> PartialState:
    """The state that processes share.

    Without an accelerator it is told that it is on a CPU, or accelerate would leave every process alone with all of the
    work. Processes may wait for each other as long as it takes: one may have hours of work left where another has none.

    Raises:
        RuntimeError: several processes were started, and they do not know of each other.
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
