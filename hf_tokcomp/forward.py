"""The `forward` of a patched model: compress, shorten, and call the model's own `forward` with `inputs_embeds`."""

from __future__ import annotations

import functools
import inspect
from functools import lru_cache
from typing import Any

from .cache_guard import cached_tokens, mapped_call, recall, remember_filled, starts_anew
from .cache_memory import CacheMemory
from .cache_names import CACHE, cache_of, with_cache_name
from .instance import original, patch_of
from .loss import forward_with_items
from .model_patch import ModelPatch
from .prefill import WINDOWS, Prefill, carries_audio, compress_prompt


def forward(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `forward`, with the audio compressed.

    Arguments are upstream's own. Logits, hidden states, attentions and the cache have the shortened length;
    ``model.audio_compressor.last`` has the way back. With ``labels`` the loss is that of the shortened sequence.

    Raises:
        PlaceholderMismatchError: the placeholders do not fit the audio.
        CacheContinuationError: the call continues on a cache in a way that cannot be mapped.
    """
    upstream = original(model, "forward")
    if getattr(model, "audio_compressor", None) is None:
        return upstream(*args, **kwargs)
    patch = patch_of(model)
    own_forward = functools.partial(forward_with_items, upstream, patch.loss_counts_items)
    inputs = with_cache_name(kwargs if not args else _by_name(type(model).forward, model, args, kwargs))
    windows = inputs.pop(WINDOWS, None)
    memory = recall(inputs.get(CACHE))
    if memory is not None:
        step = continue_inputs(model, memory, inputs)
        with mapped_call():
            return own_forward(step)
    if not carries_audio(inputs):
        if inputs.get("inputs_embeds") is None and starts_anew(inputs):
            model.audio_compressor.last = None  # a new prompt, without audio
        return own_forward(inputs)
    _refuse_columns(model, inputs)
    prefill = compress_prompt(model, patch, inputs, windows)
    if prefill is None:
        return own_forward(inputs)
    outputs: Any = None
    try:
        outputs = own_forward(short_inputs(inputs, prefill, patch))
    finally:  # a cache that was handed in may be filled even if the call fails
        remember_filled(prefill.prompt, inputs.get(CACHE), cache_of(outputs))
    return outputs


def short_inputs(inputs: dict[str, Any], prefill: Prefill, patch: ModelPatch) -> dict[str, Any]:
    """The keywords of a call on the short prompt."""
    prompt = prefill.prompt
    kept = {k: v for k, v in inputs.items() if k not in ("input_ids", "input_features", patch.feature_mask)}
    if inputs.get("labels") is not None:
        kept["labels"] = prompt.labels
    return kept | {
        "inputs_embeds": prefill.inputs_embeds,
        "attention_mask": prompt.attention_mask,
        "position_ids": prompt.position_ids,
    }


def continue_inputs(model: Any, memory: CacheMemory, inputs: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a call on a cache that holds compressed audio."""
    patch = patch_of(model)
    if inputs.get("labels") is not None:
        raise ValueError(
            f"A loss on a continued cache is not supported; pass the whole prompt without `{CACHE}`."
        )
    step = memory.continuation(inputs, cached_tokens(inputs[CACHE]), patch.audio_token_id(model))
    kept = {k: v for k, v in inputs.items() if k not in ("input_features", patch.feature_mask)}
    positions = step.positions[:, -step.new.shape[1] :]
    return kept | {"input_ids": step.new, "attention_mask": step.mask, "position_ids": positions}


def _refuse_columns(model: Any, inputs: dict[str, Any]) -> None:
    """Arguments that name columns of the longer prompt in a way that cannot be mapped."""
    if model.audio_compressor.config.is_upstream:
        return
    if inputs.get("logits_to_keep") is not None and not isinstance(inputs["logits_to_keep"], int):
        raise ValueError(
            "Under compression `logits_to_keep` must be an integer; indices would mean columns of the long prompt. "
            "Select from `logits` with `model.audio_compressor.last.columns`."
        )
    if inputs.get("shift_labels") is not None:
        raise ValueError("Under compression pass `labels`, not `shift_labels`: what follows a column changes.")


def _by_name(function: Any, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Positional arguments by their names."""
    bound = _signature(function).bind(model, *args, **kwargs).arguments
    named = dict(bound)
    named.pop("self", None)
    rest: dict[str, Any] = named.pop("kwargs", {})
    return named | rest


@lru_cache
def _signature(function: Any) -> inspect.Signature:
    return inspect.signature(function)
