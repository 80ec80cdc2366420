"""The `generate` of a patched model: compress once, let upstream decode, and return the user's own prompt.

Upstream's `generate` gets the short ids along with the short embeddings, so decoding, caches, beams and its own logits
processors are upstream's. Everything the user passes in or gets back sees the original prompt: returned sequences,
streamers, logits processors, stopping criteria, `prefix_allowed_tokens_fn`, `max_length` and `min_length`.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import CacheContinuationError
from ..models.announced import Announced
from ..models.cache_names import CACHE, OTHER, cache_of, with_cache_name
from ..models.instance import STATE, bound_once, compressor_of, original, patch_of
from ..prompt.shorten import ShortPrompt
from .cache_guard import cached_tokens, forget, recall, remember, remember_filled
from .cache_memory import START_ANEW, CacheMemory
from .forward import short_inputs
from .prefill import carries_audio, compress_prompt
from .user_view import UserPrompt

_ACTIVE: ContextVar[_Decoding | None] = ContextVar("hf_tokcomp_decoding", default=None)


@dataclass(eq=False)
class _Decoding:
    """The current `generate` call on a model in this thread."""

    model: Any
    short: int
    next_position: Tensor
    of_composite: ShortPrompt | None = None
    """The prompt, while a composite's `generate` is running that has not yet called this model's."""


@bound_once
def generate(model: Any, inputs: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `generate`, with the audio compressed. Arguments are the same as upstream's.

    Raises:
        PlaceholderMismatchError: the placeholders do not match the audio.
        CacheContinuationError: the call continues on a cache in a way that cannot be mapped.
        ValueError: ``max_length`` does not exceed the prompt's length, or chunked prefill or continuous batching was
            requested, which upstream does not support for audio.
    """
    own_generate = original(model, "generate")
    if compressor_of(model) is None:
        return own_generate(inputs, *args, **kwargs)
    if inputs is not None and kwargs.get("input_ids") is not None:
        return own_generate(inputs, *args, **kwargs)  # upstream raises the right error
    kwargs = with_cache_name(kwargs | dict(zip(_names(own_generate), args, strict=False)))
    announced = Announced.taken_from(kwargs)
    call = dict(kwargs)
    if inputs is not None:
        call["input_ids"] = inputs
    cache = call.get(CACHE)
    memory, cached = recall(cache)
    patch = patch_of(model)
    inner = patch.inner(model)
    under_way = _ACTIVE.get()
    composites = None if under_way is None or under_way.model is not model else under_way.of_composite
    if (memory is not None and inner is not model) or (composites is not None and cached_tokens(cache) > 0):
        raise CacheContinuationError(f"A model of several parts cannot go on with a cache; its part can. {START_ANEW}")
    if under_way is not None and composites is not None:  # the prompt is already compressed
        under_way.of_composite = None
        call = {name: value for name, value in call.items() if name not in patch.audio_keywords}
        return _behind(composites, model, call, own_generate)
    if memory is not None:
        return _continue(model, own_generate, memory, cached, call)
    prefill = None
    upstream = model.audio_compressor.config.is_upstream  # if so, `forward` reads the prompt
    if carries_audio(patch, call) and not upstream:
        call["attention_mask"] = _mask_of_padding(inner, call)
        with torch.no_grad():
            prefill = compress_prompt(inner, patch, call, announced, generating=True)
    if prefill is None:
        given = kwargs if inputs is None else {"inputs" if inner is model else "input_ids": inputs, **kwargs}
        return _run(model, own_generate, None, **given)
    prompt = prefill.prompt
    decoding = _Decoding(inner, prompt.input_ids.shape[1], prompt.next_position)
    run = functools.partial(_run, model, own_generate, decoding)
    short = short_inputs(inner, call, prefill) | {"input_ids": prompt.input_ids}
    with patch.generating(model, prompt):
        if inner is model:
            return _users(prompt).with_sequences(_behind(prompt, model, short, run))
        decoding.of_composite = prompt
        return _users(prompt).with_sequences(run(**patch.composite_call(model, short)))


def _behind(prompt: ShortPrompt, model: Any, call: dict[str, Any], run: Callable[..., Any]) -> Any:
    """Run upstream's `generate` after a short prompt; the objects the user passed in see the user's own prompt."""
    _refuse_unsupported(model, call)
    cache, outputs = call.get(CACHE), None
    try:
        outputs = run(**_in_short_columns(model, call, _users(prompt)))
    finally:  # a cache that was passed in may be filled even if the call fails
        remember_filled(prompt, cache, cache_of(outputs))
    return outputs


def _users(prompt: ShortPrompt) -> UserPrompt:
    return UserPrompt(prompt.user_ids, prompt.input_ids.shape[1])


def _names(own_generate: Callable[..., Any]) -> list[str]:
    """The names of `generate`'s positional parameters after the prompt, which differ for a composite."""
    return list(inspect.signature(own_generate).parameters)[1:]


def prepare_inputs_for_generation(model: Any, input_ids: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Upstream's `prepare_inputs_for_generation`, made correct for assisted decoding and prompts that end in audio.

    In the first step, upstream replaces all ids with `inputs_embeds` and so loses the candidates after the prompt;
    their embeddings are appended here. Positions after the prompt continue those of the full prompt, whereas upstream
    would continue from the last kept column.
    """
    if input_ids is model:  # this function was bound again by other code
        input_ids, *args = args  # type: ignore[assignment]
    if OTHER in kwargs:
        with_cache_name(kwargs)
    decoding = _ACTIVE.get()
    if decoding is not None and decoding.model is model:
        embeds, positions = kwargs.get("inputs_embeds"), kwargs.get("position_ids")
        known = input_ids.shape[1] if embeds is None else embeds.shape[1]
        if embeds is not None and kwargs.get("is_first_iteration") and input_ids.shape[1] > known:
            candidates = model.get_input_embeddings()(input_ids[:, known:])
            kwargs["inputs_embeds"] = torch.cat([embeds, candidates.to(embeds.device, embeds.dtype)], 1)
        if positions is not None and positions.shape[1] > decoding.short:
            behind = torch.arange(positions.shape[1] - decoding.short, device=positions.device)
            first = decoding.next_position.to(positions.device)
            first = first.repeat_interleave(positions.shape[0] // first.shape[0])
            kwargs["position_ids"] = torch.cat([positions[:, : decoding.short], first[:, None] + behind], 1)
    # This runs for every token, so `original` is inlined.
    state = model.__dict__.get(STATE)
    earlier = None if state is None else state.earlier.get("prepare_inputs_for_generation")
    own = functools.partial(type(model).prepare_inputs_for_generation, model) if earlier is None else earlier
    result: dict[str, Any] = own(input_ids, *args, **kwargs)
    return result


def _run(model: Any, own_generate: Any, decoding: _Decoding | None, /, **call: Any) -> Any:
    """Run upstream's `generate`. If the assistant is this same model, it must not see the outer call's state."""
    token = _ACTIVE.set(decoding)
    try:
        return own_generate(**call)
    finally:
        _ACTIVE.reset(token)


def _continue(model: Any, own_generate: Any, memory: CacheMemory, cached: int, call: dict[str, Any]) -> Any:
    """Generate on a cache that holds compressed audio."""
    patch = patch_of(model)
    cache = call[CACHE]
    step = memory.continuation(call, cached, patch.audio_token_id(model))
    _refuse_unsupported(model, call)
    rows = step.memory
    positions = torch.cat([rows.position_ids.to(step.positions.device), step.positions], 1)
    ids: Tensor = call["input_ids"]
    user = None
    if step.later is not None:
        user = UserPrompt(ids[:, : step.long], step.short)
        ids = torch.cat([rows.input_ids.to(ids.device), step.later], 1)
    call = {name: value for name, value in call.items() if name not in patch.audio_keywords}
    call |= {"input_ids": ids, "attention_mask": step.mask, "position_ids": positions}
    # Upstream's own calls on this cache are already in its columns, so it must not be recognised as ours meanwhile.
    forget(cache)
    decoding = _Decoding(model, positions.shape[1], positions[:, -1] + 1)
    try:
        call = call if user is None else _in_short_columns(model, call, user)
        with patch.generating(model, None):
            outputs = _run(model, own_generate, decoding, **call)
    finally:
        remember(cache, memory)
    return outputs if user is None else user.with_sequences(outputs)


def _in_short_columns(model: Any, call: dict[str, Any], user: UserPrompt) -> dict[str, Any]:
    """Make the user's objects in a call see the user's prompt, and count lengths from the short prompt."""
    call = dict(call)
    if call.get("streamer") is not None:
        call["streamer"] = user.streamer(call["streamer"])
    if call.get("logits_processor"):
        call["logits_processor"] = user.logits_processors(call["logits_processor"])
    if call.get("stopping_criteria"):
        call["stopping_criteria"] = user.stopping_criteria(call["stopping_criteria"])
    if call.get("prefix_allowed_tokens_fn") is not None:
        call["prefix_allowed_tokens_fn"] = user.prefix_function(call["prefix_allowed_tokens_fn"])
    if call.get("generation_config") is not None:
        call["generation_config"] = copy.deepcopy(call["generation_config"])
    for total, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
        value = _setting(model, call, total)
        if value is None or _setting(model, call, new) is not None:
            continue
        shorter = value - user.dropped
        if total == "max_length" and shorter <= call["input_ids"].shape[1]:
            raise ValueError(
                f"`max_length`={value} leaves no room after a prompt of {call['input_ids'].shape[1] + user.dropped} "
                "tokens; it counts the uncompressed prompt. Raise it, or set `max_new_tokens`."
            )
        target = call.get("generation_config")
        if call.get(total) is None and target is not None and getattr(target, total, None) is not None:
            setattr(target, total, max(shorter, 0))
        else:
            call[total] = max(shorter, 0)
    return call


def _mask_of_padding(model: Any, call: dict[str, Any]) -> Tensor | None:
    """The mask of a call; if none is given but there are padding ids, the one that upstream's `generate` infers."""
    mask: Tensor | None = call.get("attention_mask")
    pad, ends = _setting(model, call, "pad_token_id"), _setting(model, call, "eos_token_id")
    ends = ends if isinstance(ends, list | tuple) else [ends]
    if mask is not None or pad is None or pad in ends:
        return mask
    inferred = call["input_ids"].ne(pad).long()
    return None if bool(inferred.all()) else inferred


def _setting(model: Any, call: dict[str, Any], name: str) -> Any:
    """A generation setting as upstream resolves it: keyword, then the given config, then the model's own."""
    for source in (call, call.get("generation_config"), model.generation_config):
        value = source.get(name) if isinstance(source, dict) else getattr(source, name, None)
        if value is not None:
            return value
    return None


def _refuse_unsupported(model: Any, call: dict[str, Any]) -> None:
    if _setting(model, call, "prefill_chunk_size") is not None:
        raise ValueError("Upstream cannot prefill audio in chunks; leave out `prefill_chunk_size`.")
    if _setting(model, call, "encoder_repetition_penalty") not in (None, 1.0):
        raise ValueError(
            "Upstream applies `encoder_repetition_penalty` to ids alone, not beside embeddings; leave it out."
        )
    if _setting(model, call, "encoder_no_repeat_ngram_size") not in (None, 0):
        raise ValueError("Upstream applies `encoder_no_repeat_ngram_size` to ids alone; use `no_repeat_ngram_size`.")
    if _setting(model, call, "cache_implementation") == "paged":
        raise ValueError("Continuous batching (`cache_implementation='paged'`) carries no audio; leave it out.")
