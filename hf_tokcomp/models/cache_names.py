"""The keyword for the key-value cache: ``cache`` since transformers 5.24, ``past_key_values`` before.

Users may write either, whatever is installed; inside there is one name, that of the installed version.
"""

from __future__ import annotations

import inspect
from typing import Any

from transformers import GenerationMixin
from transformers.cache_utils import Cache

CACHE_NAMES = ("cache", "past_key_values")
_UPSTREAM = inspect.signature(GenerationMixin.prepare_inputs_for_generation).parameters
CACHE = next((name for name in CACHE_NAMES if name in _UPSTREAM), CACHE_NAMES[0])
"""What the installed transformers calls it."""
OTHER = next(name for name in CACHE_NAMES if name != CACHE)
"""What other releases call it."""


def with_cache_name(inputs: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a call with the cache under `CACHE`, renamed in place.

    Raises:
        ValueError: it is given under both names.
    """
    if OTHER in inputs:
        if inputs.get(CACHE) is not None and inputs[OTHER] is not None:
            raise ValueError(f"`{CACHE}` and `{OTHER}` are two names for the same argument; pass `{CACHE}` alone.")
        given = inputs.pop(OTHER)
        if inputs.get(CACHE) is None:
            inputs[CACHE] = given
    return inputs


def cache_of(outputs: Any) -> Cache | None:
    """The cache in a model's outputs, or in a tuple of them; None where there is none."""
    candidates = outputs if isinstance(outputs, tuple) else (getattr(outputs, CACHE, None),)
    return next((value for value in candidates if isinstance(value, Cache)), None)
