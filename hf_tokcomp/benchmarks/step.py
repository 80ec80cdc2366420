"""Overhead on the host that a patched model adds to a decoding step: `python -m hf_tokcomp.benchmarks.step`.

Upstream's `forward` is replaced by one that returns a stored output, so that only the overhead of the call remains:
that of the module and, if the model is patched, of our functions. The models have their public sizes, on the meta
device; nothing is computed except in our functions. The result is the difference between the two calls, using the
minimum of several runs, which is least affected by other load.

Two steps are measured. In a step of `generate`, masks and positions already refer to the cache's columns. In a step of
a hand-written loop they refer to those of the user's prompt and are mapped.
"""

from __future__ import annotations

import argparse
import sys
import timeit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

from ..generation.cache_guard import remember
from ..generation.cache_memory import CacheMemory
from ..models.cache_names import CACHE
from ..patching.patch import patch, unpatch
from .speed.architectures import architectures, build, config_of, sizes_of

RUNS, CALLS = 5, 10_000
METHODS = ("none", "top_k")
PROMPT, SHORT = 780, 217
"""Columns of a prompt with 30 s of audio, and of the same prompt with a quarter of the audio tokens."""


def model_of(name: str) -> Any:
    """A model with public sizes on the meta device, without weights.

    Args:
        name: one of `architectures`.
    """
    return build(config_of(sizes_of(name)), torch.device("meta"), torch.float32)


def filled_cache(model: Any, columns: int) -> Any:
    """A narrow cache with this many columns of one row in each layer of the language model."""
    from transformers import DynamicCache

    config = model.config.get_text_config()
    cache = DynamicCache(config=config)
    for layer in range(config.num_hidden_layers):
        cache.update(torch.zeros(1, 1, columns, 1), torch.zeros(1, 1, columns, 1), layer)
    return cache


def step_of_generate(model: Any) -> dict[str, Any]:
    """The keywords of a decoding step of `generate`; the cache has the columns of the shortened prompt."""
    return {
        "input_ids": torch.ones(1, 1, dtype=torch.long),
        "attention_mask": torch.ones(1, SHORT + 1, dtype=torch.long),
        "position_ids": torch.full((1, 1), SHORT),
        CACHE: filled_cache(model, SHORT),
        "use_cache": True,
    }


def step_by_hand(model: Any) -> dict[str, Any]:
    """The same step in a hand-written loop: the cache knows its prompt, and the mask has the user's columns."""
    row = torch.ones(1, PROMPT, dtype=torch.long)
    short = row[:, :SHORT]
    step = step_of_generate(model) | {"attention_mask": torch.ones(1, PROMPT + 1, dtype=torch.long)}
    del step["position_ids"]
    remember(step[CACHE], CacheMemory(row, short, short, torch.arange(SHORT)[None], torch.tensor([SHORT])))
    return step


STEPS = {"generate": step_of_generate, "by hand": step_by_hand}


@contextmanager
def stored_output(model: Any) -> Iterator[None]:
    """Within the ``with`` block, the model's own `forward` returns a stored output."""
    output = object()

    def stored(self: Any, *args: Any, **kwargs: Any) -> Any:
        return output

    with mock.patch.object(type(model), "forward", stored):
        yield


def microseconds(model: Any, step: dict[str, Any], runs: int = RUNS, calls: int = CALLS) -> float:
    """Microseconds of one call with these keywords, the minimum of several runs."""
    with stored_output(model), torch.no_grad():
        return min(timeit.repeat(lambda: model(**step), number=calls, repeat=runs)) / calls * 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m hf_tokcomp.benchmarks.step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=RUNS, help=f"default: {RUNS}")
    parser.add_argument("--calls", type=int, default=CALLS, help=f"of each run; default: {CALLS}")
    options = parser.parse_args(arguments)
    print(f"Microseconds per step, the smallest of {options.runs} runs of {options.calls} calls")
    print(f"{'model':18}{'method':8}{'step':10}{'bare':>8}{'patched':>9}{'more':>8}")
    for name in architectures(reads_prompts=True):
        model = model_of(name)
        for method in METHODS:
            for kind, make in STEPS.items():
                step = make(model)
                bare = microseconds(unpatch(model), step, options.runs, options.calls)
                patched = microseconds(patch(model, method), step, options.runs, options.calls)
                print(f"{name:18}{method:8}{kind:10}{bare:8.2f}{patched:9.2f}{patched - bare:8.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
