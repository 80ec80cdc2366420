"""The keyword for the key-value cache: ``cache`` since transformers 5.24, ``past_key_values`` before.

Users may pass either with any version; internally only the installed version's name is used.
"""

from __future__ import annotations

from typing import Any

import transformers
from packaging.version import Version
from transformers.cache_utils import Cache

CACHE_NAMES = ("cache", "past_key_values")
# By its version: importing the signature that tells would be a tenth of what importing this package costs.
CACHE = CACHE_NAMES[Version(transformers.__version__).release < (5, 24)]
"""Its name in the installed transformers."""
OTHER = next(name for name in CACHE_NAMES if name != CACHE)
"""Its name in other releases."""


def with_cache_name(inputs: dict[str, Any]) -> dict[str, Any]:
    """Rename the cache in a call's keywords to `CACHE`, in place, and return them.

    Raises:
        ValueError: a cache is given under both names.
    """
    if OTHER in inputs:
        if inputs.get(CACHE) is not None and inputs[OTHER] is not None:
            raise ValueError(f"`{CACHE}` and `{OTHER}` are two names for the same argument; pass `{CACHE}` alone.")
        given = inputs.pop(OTHER)
        if inputs.get(CACHE) is None:
            inputs[CACHE] = given
    return inputs


def cache_of(outputs: Any) -> Cache | None:
    """The cache in a model's outputs, which may be a tuple; None if there is none."""
    candidates = outputs if isinstance(outputs, tuple) else (getattr(outputs, CACHE, None),)
    return next((value for value in candidates if isinstance(value, Cache)), None)
