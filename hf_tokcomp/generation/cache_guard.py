"""Attaching a memory to a key-value cache, and guarding the cache while it has one.

Only the patched model can correctly continue a cache that holds a compressed prompt. So while it has a memory, the
cache itself refuses new entries that do not come from the patched model (after `unpatch`, for example), and when its
rows are reordered, selected or repeated, so are those of the memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from torch import Tensor

from ..errors import CacheContinuationError
from ..models.cache_names import CACHE
from ..prompt.shorten import ShortPrompt
from .cache_memory import START_ANEW, CacheMemory

MEMORY = "_hf_tokcomp_memory"
"""Attribute name of the memory of a cache that we filled."""
MAPPED: ContextVar[bool] = ContextVar("hf_tokcomp_mapped", default=False)
"""Whether the current call's masks and positions are in the cache's own columns."""


def remember(cache: Any, memory: CacheMemory) -> None:
    """Attach a memory to a cache and guard the cache."""
    cache.__dict__[MEMORY] = memory
    for name, guarded in _GUARDED.items():
        if hasattr(type(cache), name):
            cache.__dict__[name] = functools.partial(guarded, cache)


def remember_filled(prompt: ShortPrompt, *caches: Any) -> None:
    """Attach the memory of a prompt to those of the caches that are not empty."""
    for cache in caches:
        if cached_tokens(cache) > 0:
            remember(cache, CacheMemory.of(prompt))


def recall(cache: Any) -> tuple[CacheMemory | None, int]:
    """The memory of a cache that we filled and its number of tokens; None and 0 for other caches and emptied ones."""
    memory: CacheMemory | None = getattr(cache, MEMORY, None)
    if memory is None:
        return None, 0
    cached = cached_tokens(cache)
    if cached == 0:
        forget(cache)
        return None, 0
    return memory, cached


def forget(cache: Any) -> None:
    """Detach the memory: while upstream's `generate` uses the cache, its calls are in the cache's own columns."""
    if getattr(cache, MEMORY, None) is not None:
        for name in (MEMORY, *_GUARDED):
            cache.__dict__.pop(name, None)


def cached_tokens(cache: Any) -> int:
    """Number of tokens in the cache; 0 if there is no cache."""
    return 0 if cache is None else int(cache.get_seq_length())


def starts_anew(inputs: dict[str, Any]) -> bool:
    """Whether a call starts a text rather than continuing one.

    Decoding steps are recognised without reading the cache's length, which a static cache keeps on the device.
    """
    cache, ids = inputs.get(CACHE), inputs.get("input_ids")
    if cache is not None and ids is not None and ids.shape[1] == 1:
        return not cache.is_initialized
    return cached_tokens(cache) == 0


def _update(cache: Any, *args: Any, **kwargs: Any) -> Any:
    if not MAPPED.get():
        raise CacheContinuationError(
            "This cache holds a compressed prompt, and only a patched model can go on with it: patch the model again, "
            f"if only with 'none'. {START_ANEW}"
        )
    return type(cache).update(cache, *args, **kwargs)


def _reorder_cache(cache: Any, beam_idx: Tensor) -> None:
    type(cache).reorder_cache(cache, beam_idx)
    cache.__dict__[MEMORY] = cache.__dict__[MEMORY].select(beam_idx)


def _batch_select_indices(cache: Any, indices: Tensor) -> None:
    type(cache).batch_select_indices(cache, indices)
    cache.__dict__[MEMORY] = cache.__dict__[MEMORY].select(indices)


def _batch_repeat_interleave(cache: Any, repeats: int) -> None:
    type(cache).batch_repeat_interleave(cache, repeats)
    cache.__dict__[MEMORY] = cache.__dict__[MEMORY].repeat(repeats)


_GUARDED: dict[str, Callable[..., Any]] = {
    "update": _update,
    "reorder_cache": _reorder_cache,
    "batch_select_indices": _batch_select_indices,
    "batch_repeat_interleave": _batch_repeat_interleave,
}
