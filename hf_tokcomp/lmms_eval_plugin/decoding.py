"""Converting a task's ``generation_kwargs`` to options of ``generate``, and decoded text to an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .arguments import refuse_unknown

DEFAULTS: dict[str, Any] = {"max_new_tokens": 256, "min_new_tokens": 1, "num_beams": 1}
"""Defaults for what a task does not specify, as in lmms-eval's own wrappers."""

OF_SAMPLING = ("temperature", "top_p", "top_k", "min_p")
OPTIONS = frozenset(
    {*DEFAULTS, *OF_SAMPLING, "do_sample", "early_stopping", "length_penalty", "no_repeat_ngram_size"}
    | {"repetition_penalty", "until"}
)
"""Accepted ``generation_kwargs``: none that would change the return type of ``generate``."""


def generate_options(task: Mapping[str, Any]) -> dict[str, Any]:
    """The options of ``generate``.

    Tokens are sampled if ``temperature`` is above 0 and ``do_sample`` is not false, or if only ``do_sample`` is given
    and true; otherwise decoding is greedy, whatever the checkpoint's generation config says.

    Args:
        task: ``generation_kwargs`` of a task; its ``until`` is handled by `cut`.

    Raises:
        ValueError: an option is not in `OPTIONS`.
    """
    refuse_unknown(task, OPTIONS, "generation option")
    options = {name: value for name, value in task.items() if name != "until"}
    temperature, sample = options.get("temperature"), options.get("do_sample")
    sampled = bool(sample) if temperature is None else temperature > 0 and sample is not False
    if not sampled:
        options |= dict.fromkeys(OF_SAMPLING)
    return DEFAULTS | options | {"do_sample": sampled}


def stops(task: Mapping[str, Any]) -> list[str]:
    """The strings at which a task's answers end.

    Raises:
        ValueError: ``until`` is neither a string nor a list of strings.
    """
    until = task.get("until")
    listed = [until] if isinstance(until, str) else until or []
    if not isinstance(listed, list | tuple) or not all(isinstance(stop, str) for stop in listed):
        raise ValueError(f"until must be a string or a list of strings, not {until!r}.")
    return [stop for stop in listed if stop]


def cut(text: str, until: Sequence[str]) -> str:
    """The text up to the first of these strings."""
    for stop in until:
        text = text.partition(stop)[0]
    return text
