"""Attaching a memory to a key-value cache, and guarding the cache while it has one.

A cache that holds a compressed prompt is continued rightly by the patched model alone. So while it has a memory, the
cache itself refuses new entries that do not come through the patched model (after `unpatch`, say), and when its rows
are reordered, selected or repeated, the memory's are, too.
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
"""Name under which a cache that we filled has its memory."""
MAPPED: ContextVar[bool] = ContextVar("hf_tokcomp_mapped", default=False)
"""Whether the call that is under way has its masks and positions in the cache's own columns."""


def remember(cache: Any, memory: CacheMemory) -> None:
    """Attach a memory to a cache, and guard the cache."""
    cache.__dict__[MEMORY] = memory
    for name, guarded in _GUARDED.items():
        if hasattr(type(cache), name):
            cache.__dict__[name] = functools.partial(guarded, cache)


def remember_filled(prompt: ShortPrompt, *caches: Any) -> None:
    """Attach the memory of a prompt to those of these caches that hold something."""
    for cache in caches:
        if cached_tokens(cache) > 0:
            remember(cache, CacheMemory.of(prompt))


def recall(cache: Any) -> tuple[CacheMemory | None, int]:
    """The memory of a cache that we filled, and the tokens in it; None and 0 for any other, and for an emptied one."""
    memory: CacheMemory | None = getattr(cache, MEMORY, None)
    if memory is None:
        return None, 0
    cached = cached_tokens(cache)
    if cached == 0:
        forget(cache)
        return None, 0
    return memory, cached


def forget(cache: Any) -> None:
    """Detach the memory: while upstream's `generate` works on the cache, its calls are in the cache's own columns."""
    if getattr(cache, MEMORY, None) is not None:
        for name in (MEMORY, *_GUARDED):
            cache.__dict__.pop(name, None)


def cached_tokens(cache: Any) -> int:
    """Tokens in the cache; 0 where there is none."""
    return 0 if cache is None else int(cache.get_seq_length())


def starts_anew(inputs: dict[str, Any]) -> bool:
    """Whether a call begins a text rather than going on with one.

    Decoding steps are told apart without reading a length: a static cache keeps it on the device.
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
