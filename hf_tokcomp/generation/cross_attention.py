"""Models whose decoder attends to the encoder: the encoder's output is compressed, and the decoder reads what is left.

The encoder of a patched model returns the slots of each audio with some of the padding behind it, and their weights:
a token of padding stands for many, and what fills up a shorter row of a batch for none. Upstream's decoders take no
mask for their cross-attention, so the weights go down to it as a keyword of its own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from ..models.cross_attending import CrossAttendingPatch, marked, sound_in, unmarked, warn_of_unknown_end
from ..models.encoder.reuse import encode
from ..models.instance import MODEL, compressor_of, original, patch_of
from ..models.windows import Windows
from ..ops.record import CompressionRecord, note
from ..prompt.layout import AudioLayout
from .compress import compress_encoded
from .forward import by_name
from .prefill import warn_below_budget

SLOT_WEIGHT = "hf_tokcomp_slot_weight"
"""Keyword that brings to every cross-attention what is added to its scores: ``(batch, 1, 1, slots)``."""
_NOTED: ContextVar[list[bool] | None] = ContextVar("hf_tokcomp_noted", default=None)
"""Whether the call of `generate` under way has its record; None outside of one."""


@dataclass
class CompressedEncoderOutput(BaseModelOutput):  # type: ignore[misc]
    """What the encoder of a patched model returns.

    Args:
        last_hidden_state: ``(batch, slots, dim)``, each audio's slots and behind them some of its padding.
        log_weight: ``(batch, slots)`` float32, added to the scores of attention: the logarithm of the number of tokens
            that a token of padding stands for, 0 for slots, and minus infinity where a shorter row is filled up; None
            if it is 0 everywhere.
    """

    log_weight: Tensor | None = None


def encoder_forward(encoder: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `forward` of the encoder, with its output compressed.

    Its attentions and hidden states, which have the length of the whole window, are not returned.

    Raises:
        ValueError: the features are no whole windows, or the mask is not theirs.
    """
    if args and args[0] is encoder:
        args = args[1:]
    upstream, model = original(encoder, "forward"), encoder.__dict__.get(MODEL)
    if model is None or compressor_of(model) is None:
        return upstream(*args, **kwargs)
    inputs = by_name(type(encoder).forward, encoder, args, kwargs)
    patch = _patch_of(model)
    given = inputs[patch.features]
    patch.check_call(model, inputs)
    if model.audio_compressor.config.is_upstream:
        counts = [patch.window_tokens(given.shape[-1])] * len(given)
        _note(model, CompressionRecord(counts, list(counts)))
        return upstream(**inputs)
    features, valid = unmarked(given, patch.bins(model))
    if valid is None:
        valid = _sound(model, features, inputs.get(str(patch.feature_mask)))
    return _compressed(model, patch, features, valid)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # counts are read from the device, as in `compress_prompt`
def _compressed(model: Any, patch: CrossAttendingPatch, features: Tensor, valid: Tensor) -> CompressedEncoderOutput:
    compressor = compressor_of(model)
    config = compressor.config
    frames = [int(n) for n in valid.sum(-1).tolist()]
    tokens, rows = [patch.window_tokens(n) for n in frames], list(range(len(frames)))
    windows = Windows(features, frames, None, [0] * len(frames))
    encoded = encode(model, patch, windows, compressor.requires, config.encoder)
    audio = compress_encoded(model, patch, compressor, encoded, tokens, AudioLayout(tokens, rows, rows, False))
    warn_below_budget(config, tokens, audio.counts, patch.frame_rate)
    whole = encoded.features.shape[1]
    padding = [min(patch.padding_tokens(config.padding_seconds), whole - n) for n in tokens]
    read = [slots + silent for slots, silent in zip(audio.counts, padding, strict=True)]
    _note(
        model,
        CompressionRecord(
            [whole] * len(tokens),
            read,
            audio.assignment,
            audio.times(patch.frame_rate),
            positions=audio.positions,
            padding=[(whole - n, silent) for n, silent in zip(tokens, padding, strict=True)],
        ),
    )
    slots = audio.features.shape[1]
    places, logs = zip(*map(functools.partial(_columns, slots, whole), audio.counts, padding, tokens), strict=True)
    both = torch.cat([audio.features, encoded.features], 1)
    index = torch.nn.utils.rnn.pad_sequence(list(places), True).to(both.device, non_blocking=True)
    states = both.gather(1, index[..., None].expand(-1, -1, both.shape[-1]))
    if all(not log.any() for log in logs) and len(set(read)) == 1:
        return CompressedEncoderOutput(states)
    weight = torch.nn.utils.rnn.pad_sequence(list(logs), True, -torch.inf).to(both.device, non_blocking=True)
    states = states.masked_fill(weight.isneginf()[..., None], 0.0)
    return CompressedEncoderOutput(states, log_weight=weight)


def _columns(slots: int, whole: int, count: int, silent: int, tokens: int) -> tuple[Tensor, Tensor]:
    """Where what a row holds stands in slots and encoder output, one behind the other; and the logarithms of weights.

    The padding that is kept is spread over all of it, and each of its tokens is attended to as the many it stands for.
    Decoders rest on padding: Whisper pays it a quarter of its attention, most of that to the window's last second.

    Args:
        slots: number of columns with slots.
        whole: tokens of the window.
        count: slots of the row.
        silent: tokens of padding to keep.
        tokens: tokens of the sound.
    """
    behind = whole - tokens
    spread = (2 * torch.arange(silent) + 1) * behind // max(1, 2 * silent)
    places = torch.cat([torch.arange(count), slots + tokens + spread])
    return places, torch.cat([torch.zeros(count), torch.full((silent,), math.log(max(1, behind) / max(1, silent)))])


def backbone_forward(backbone: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `forward` of encoder and decoder without the head, with the weights of the slots for the decoder.

    Raises:
        ValueError: ``encoder_outputs`` are not those of the patched model's encoder, or what `encoder_forward` raises.
    """
    if args and args[0] is backbone:
        args = args[1:]
    upstream, model = original(backbone, "forward"), backbone.__dict__.get(MODEL)
    if model is None or compressor_of(model) is None or model.audio_compressor.config.is_upstream:
        return upstream(*args, **kwargs)
    inputs = by_name(type(backbone).forward, backbone, args, kwargs)
    patch, outputs = _patch_of(model), inputs.get("encoder_outputs")
    if outputs is None and inputs.get(patch.features) is not None:
        features, valid = unmarked(inputs.pop(patch.features), patch.bins(model))
        mask = inputs.get(str(patch.feature_mask))
        if valid is None:
            valid = _sound(model, features, mask)
        outputs = patch.encoder(model)(marked(patch.augmented(model, features, mask), valid))
        inputs["encoder_outputs"] = outputs
    if outputs is not None and not isinstance(outputs, CompressedEncoderOutput):
        raise ValueError(
            "Under compression `encoder_outputs` must be what this model's encoder returned, as it is, since its "
            "`log_weight` says which slots are there and what they stand for. To read an output of another model, use "
            "compression 'none'."
        )
    if outputs is not None and outputs.log_weight is not None:
        inputs[SLOT_WEIGHT] = _added(model, outputs)
    return upstream(**inputs)


def _added(model: Any, outputs: CompressedEncoderOutput) -> Tensor:
    """The weights in the form that attention adds to its scores."""
    how = model.config._attn_implementation
    if how not in ("sdpa", "eager"):
        raise ValueError(
            f"Attention to compressed audio weighs the padding and masks shorter rows, which {how!r} cannot do here: "
            "load the model with attn_implementation='sdpa'."
        )
    weight: Any = outputs.log_weight
    kind = outputs.last_hidden_state.dtype
    added: Tensor = weight[:, None, None, :].clamp(min=torch.finfo(kind).min).to(kind)
    return added


def attention_forward(attention: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `forward` of a cross-attention, with the weights of the slots."""
    if args and args[0] is attention:
        args = args[1:]
    weight = kwargs.pop(SLOT_WEIGHT, None)
    if weight is not None:
        kwargs["attention_mask"] = weight
    return original(attention, "forward")(*args, **kwargs)


def generate(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `generate`, with the encoder's output compressed; arguments and what it returns are upstream's.

    Where upstream decodes a recording in several windows, `CompressionRecord` is that of the first.

    Raises:
        ValueError: timestamps of words, or an assistant model, were requested, or the mask is not that of the features.
    """
    if args and args[0] is model:
        args = args[1:]
    upstream = original(model, "generate")
    if compressor_of(model) is None:
        return upstream(*args, **kwargs)
    note(model.audio_compressor, None)
    call = by_name(type(model).generate, model, args, kwargs)
    with _first_record():
        if model.audio_compressor.config.is_upstream:
            return upstream(**call)
        _refuse_unsupported(model, call)
        patch = _patch_of(model)
        features = call.get(patch.features)
        if features is not None and features.shape[1] == patch.bins(model):
            mask = call.get(str(patch.feature_mask))
            long = features.shape[-1] > patch.full_frames(model)
            valid = sound_in(features, mask) if long else _sound(model, features, mask)
            call[patch.features] = marked(features, valid)
        return upstream(**call)


def _refuse_unsupported(model: Any, call: dict[str, Any]) -> None:
    config = call.get("generation_config") or model.generation_config
    words = call.get("return_token_timestamps")
    if getattr(config, "return_token_timestamps", False) if words is None else words:
        raise ValueError(
            "Timestamps of words or tokens are read off the cross-attention to every position of the encoder, of which "
            "compression leaves a part. Use return_timestamps=True, for those of segments, or compression 'none'."
        )
    if call.get("assistant_model") is not None:
        raise ValueError(
            "An `assistant_model` would read the audio uncompressed, with an encoder of its own: leave it out, or use "
            "compression 'none'."
        )


def _sound(model: Any, features: Tensor, mask: Any) -> Tensor:
    valid = sound_in(features, mask)
    if mask is None:
        warn_of_unknown_end(model, valid)
    return valid


def _patch_of(model: Any) -> CrossAttendingPatch:
    patch: Any = patch_of(model)
    return patch  # type: ignore[no-any-return]


@contextmanager
def _first_record() -> Iterator[None]:
    token = _NOTED.set([False])
    try:
        yield
    finally:
        _NOTED.reset(token)


def _note(model: Any, record: CompressionRecord) -> None:
    noted = _NOTED.get()
    if noted is None or not noted[0]:
        note(model.audio_compressor, record)
    if noted is not None:
        noted[0] = True
