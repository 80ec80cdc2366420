"""The `forward` of a patched model: compress, shorten, and call the model's own `forward` with `inputs_embeds`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from torch import Tensor

from ..models.announced import PLACEHOLDERS, WINDOWS, Announced
from ..models.base import ModelPatch
from ..models.cache_names import CACHE, OTHER, cache_of, with_cache_name
from ..models.instance import MODEL, STATE, bound_once, compressor_of, original, patch_of
from ..ops.record import note
from .cache_guard import MAPPED, MEMORY, recall, remember_filled, starts_anew
from .cache_memory import CacheMemory
from .loss import forward_with_items
from .prefill import Prefill, carries_audio, compress_prompt

_NOT_UPSTREAMS = frozenset({OTHER, WINDOWS, PLACEHOLDERS, "num_items_in_batch"})
"""Keywords that are not passed to upstream's `forward` unchanged."""
_NOT_IN_STEPS = frozenset({"inputs_embeds", "labels"})
"""Keywords besides the audio's that must be checked before a call continues a compressed prompt."""
_UNCOMPRESSED: ContextVar[bool] = ContextVar("hf_tokcomp_uncompressed", default=False)
"""Whether `forward` has inspected the current call's audio and left it to upstream."""


def forward(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `forward`, with the audio compressed.

    Arguments are the same as upstream's. Logits, hidden states, attentions and the cache have the shortened length;
    ``model.audio_compressor.last`` maps them back. With ``labels``, the loss is that of the shortened sequence.

    Raises:
        PlaceholderMismatchError: the placeholders do not match the audio.
        CacheContinuationError: the call continues on a cache in a way that cannot be mapped.
    """
    if OTHER in kwargs and kwargs.get(CACHE) is None and getattr(model, "audio_compressor", None) is not None:
        kwargs[CACHE] = kwargs.pop(OTHER)
    ids, cache = kwargs.get("input_ids"), kwargs.get(CACHE)
    # Fast path for a decoding step, one id after a filled cache: it runs for every token, so the code it needs from
    # other functions is inlined, and `torch.compile` makes one graph of it.
    if not args and ids is not None and ids.shape[1] == 1 and cache is not None and _NOT_UPSTREAMS.isdisjoint(kwargs):
        memory: CacheMemory | None = getattr(cache, MEMORY, None)
        state = model.__dict__.get(STATE)
        earlier = None if state is None else state.earlier.get("forward")
        if memory is None:  # as in `generate`: everything is in the cache's own columns
            if cache.is_initialized:
                return type(model).forward(model, **kwargs) if earlier is None else earlier(**kwargs)
        elif (
            _NOT_IN_STEPS.isdisjoint(kwargs)
            and (state is None or state.audio.isdisjoint(kwargs))
            and getattr(model, "audio_compressor", None) is not None
            and (cached := cache.get_seq_length())
        ):
            kwargs["attention_mask"], kwargs["position_ids"] = memory.next_token(kwargs, cached)
            token = MAPPED.set(True)
            try:
                return type(model).forward(model, **kwargs) if earlier is None else earlier(**kwargs)
            finally:
                MAPPED.reset(token)
    if args and args[0] is model:  # this function was bound again by other code
        args = args[1:]
    upstream = original(model, "forward")
    if compressor_of(model) is None:
        return upstream(*args, **kwargs)
    inputs = with_cache_name(kwargs if not args else by_name(type(model).forward, model, args, kwargs))
    announced = Announced.taken_from(inputs)
    memory, cached = recall(inputs.get(CACHE))
    patch = patch_of(model)
    if memory is None and not carries_audio(patch, inputs):
        if inputs.get("inputs_embeds") is None and starts_anew(inputs):
            note(model.audio_compressor, None)  # a new prompt without audio
        return forward_with_items(upstream, patch.loss_counts_items, inputs)
    own_forward = functools.partial(forward_with_items, upstream, patch.loss_counts_items)
    if memory is not None:
        step = continue_inputs(model, patch, memory, cached, inputs)
        token = MAPPED.set(True)
        try:
            return own_forward(step)
        finally:
            MAPPED.reset(token)
    _refuse_columns(model, inputs)
    prefill = compress_prompt(model, patch, inputs, announced)
    if prefill is None:
        token = _UNCOMPRESSED.set(True)
        try:
            return own_forward(inputs)
        finally:
            _UNCOMPRESSED.reset(token)
    return _on_short_prompt(model, own_forward, inputs, prefill)


@bound_once
def forward_of_part(model: Any, *args: Any, **kwargs: Any) -> Any:
    """The `forward` of a composite, which upstream lacks: that of its part that reads audio.

    So it trains like any other model, with its adapter on the whole.
    """
    return patch_of(model).inner(model)(*args, **kwargs)


def backbone_forward(backbone: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `forward` of the model without its head, for trainers that call it directly to compute their own loss
    from the last hidden state (TRL's SFTTrainer).

    The audio is compressed as in `forward`. Since the caller's labels and masks have the columns of the long prompt, so
    does ``last_hidden_state``: a dropped column repeats the last kept one before it. All other outputs have the
    shortened length. Calls that come from `forward` no longer carry audio and pass through.

    Raises:
        what `forward` raises.
    """
    ids, state = kwargs.get("input_ids"), backbone.__dict__.get(STATE)
    # Fast path as in `forward`: for calls without audio, and calls on a compressed prompt that are already mapped.
    if (
        not args
        and (state is None or kwargs.get(state.features) is None or (ids is not None and ids.shape[1] == 1))
        and (getattr(kwargs.get(CACHE), MEMORY, None) is None or MAPPED.get())
        and _NOT_UPSTREAMS.isdisjoint(kwargs)
    ):
        earlier = None if state is None else state.earlier.get("forward")
        return type(backbone).forward(backbone, **kwargs) if earlier is None else earlier(**kwargs)
    if args and args[0] is backbone:
        args = args[1:]
    upstream = original(backbone, "forward")
    model = backbone.__dict__.get(MODEL)
    if model is None or compressor_of(model) is None:
        return upstream(*args, **kwargs)
    inputs = with_cache_name(kwargs if not args else by_name(type(backbone).forward, backbone, args, kwargs))
    announced = Announced.taken_from(inputs)
    memory, cached = recall(inputs.get(CACHE))
    patch = patch_of(model)
    if memory is not None and not MAPPED.get():
        step = continue_inputs(model, patch, memory, cached, inputs)
        token = MAPPED.set(True)
        try:
            return upstream(**step)
        finally:
            MAPPED.reset(token)
    if not carries_audio(patch, inputs) or _UNCOMPRESSED.get():
        return upstream(**inputs)
    prefill = compress_prompt(model, patch, inputs, announced)
    if prefill is None:
        return upstream(**inputs)
    outputs = _on_short_prompt(model, lambda step: upstream(**step), inputs, prefill)
    record = model.audio_compressor.last
    if isinstance(outputs, tuple):
        return (record.to_prompt(outputs[0], fill=None), *outputs[1:])
    for name in ("attention_mask", "labels"):  # Qwen2-Audio's own head uses those that its backbone returns
        if name in outputs:
            outputs[name] = inputs.get(name)
    outputs["last_hidden_state"] = record.to_prompt(outputs["last_hidden_state"], fill=None)
    return outputs


def _on_short_prompt(
    model: Any, own_forward: Callable[[dict[str, Any]], Any], inputs: dict[str, Any], prefill: Prefill
) -> Any:
    outputs: Any = None
    try:
        outputs = own_forward(short_inputs(model, inputs, prefill))
    finally:  # a cache that was passed in may be filled even if the call fails
        remember_filled(prefill.prompt, inputs.get(CACHE), cache_of(outputs))
    return outputs


def short_inputs(model: Any, inputs: dict[str, Any], prefill: Prefill) -> dict[str, Any]:
    """The keywords of a call on the short prompt."""
    prompt, patch = prefill.prompt, patch_of(model)
    shape = prompt.user_ids.shape
    kept: dict[str, Any] = {}
    for name, value in inputs.items():
        if name == "input_ids" or name in patch.audio_keywords:
            continue
        if isinstance(value, Tensor) and value.shape[:2] == shape:  # token types and the like
            value = prompt.take(value, 0)
        kept[name] = value
    if inputs.get("labels") is not None:
        kept["labels"] = prompt.labels
    kept |= {
        "inputs_embeds": prefill.inputs_embeds,
        "attention_mask": prompt.attention_mask,
        "position_ids": prompt.position_ids,
    }
    return kept | patch.extra_inputs(model, inputs, prompt)


def continue_inputs(
    model: Any, patch: ModelPatch, memory: CacheMemory, cached: int, inputs: dict[str, Any]
) -> dict[str, Any]:
    """The keywords of a call on a cache that holds compressed audio; ``cached`` is its number of tokens."""
    if inputs.get("labels") is not None:
        raise ValueError(f"A loss on a continued cache is not supported; pass the whole prompt without `{CACHE}`.")
    kept = {name: value for name, value in inputs.items() if name not in patch.audio_keywords}
    step = memory.continuation(inputs, cached, patch.audio_token_id(model))
    positions = step.positions[:, -step.new.shape[1] :]
    return kept | {"input_ids": step.new, "attention_mask": step.mask, "position_ids": positions}


def _refuse_columns(model: Any, inputs: dict[str, Any]) -> None:
    """Raise on arguments that refer to columns of the longer prompt in a way that cannot be mapped."""
    if model.audio_compressor.config.is_upstream:
        return
    if inputs.get("logits_to_keep") is not None and not isinstance(inputs["logits_to_keep"], int):
        raise ValueError(
            "Under compression `logits_to_keep` must be an integer; indices would mean columns of the long prompt. "
            "Select from `logits` with `model.audio_compressor.last.columns`."
        )
    if inputs.get("shift_labels") is not None:
        raise ValueError("Under compression pass `labels`, not `shift_labels`: what follows a column changes.")


def by_name(function: Any, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Turn positional arguments into keywords."""
    bound = _signature(function).bind(model, *args, **kwargs).arguments
    named = dict(bound)
    named.pop("self", None)
    rest: dict[str, Any] = named.pop("kwargs", {})
    return named | rest


@lru_cache
def _signature(function: Any) -> inspect.Signature:
    return inspect.signature(function)
