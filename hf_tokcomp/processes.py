"""This process among those that `accelerate launch` or `torchrun` started."""

from __future__ import annotations

import os
from datetime import timedelta

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def process() -> PartialState:
    """The state that processes share.

    On CPUs each process must be told that there are others, or all of them do all of the work. They may wait for each
    other as long as it takes: one may have hours of work left where another has none.

    Raises:
        RuntimeError: several processes were started, and they do not know of each other.
    """
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=timedelta(days=7))
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if state.num_processes != started:
        raise RuntimeError(
            f"{started} processes were started, and this one knows of {state.num_processes}: without GPUs set "
            "ACCELERATE_USE_CPU=1, or use_cpu in accelerate's config file."
        )
    return state
