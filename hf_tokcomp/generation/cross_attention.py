"""Models whose decoder attends to the encoder: the encoder's output is compressed, and the decoder reads what is left.

The encoder of a patched model returns the slots of each audio with some of the padding behind it, and a mask where the
rows of a batch differ in length. Upstream's decoders take no mask for their cross-attention, so it goes down to it as
a keyword of its own.
"""

from __future__ import annotations

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

SLOT_MASK = "hf_tokcomp_slot_mask"
"""Keyword that brings the mask of the slots to every cross-attention: ``(batch, 1, 1, slots)``, added to its scores."""
_NOTED: ContextVar[list[bool] | None] = ContextVar("hf_tokcomp_noted", default=None)
"""Whether the call of `generate` under way has its record; None outside of one."""


@dataclass
class CompressedEncoderOutput(BaseModelOutput):  # type: ignore[misc]
    """What the encoder of a patched model returns.

    Args:
        last_hidden_state: ``(batch, slots, dim)``, each audio's slots and behind them some of its padding.
        attention_mask: ``(batch, slots)`` long, 0 where a shorter row is filled up; None if all are of one length.
    """

    attention_mask: Tensor | None = None


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
    # Built on the host: for every column the place of what it holds in slots and encoder output, one behind the other.
    width, slots = max(read, default=0), audio.features.shape[1]
    place = torch.zeros(len(read), width, dtype=torch.long)
    there = torch.zeros(len(read), width, dtype=torch.long)
    for row, (count, silent, n) in enumerate(zip(audio.counts, padding, tokens, strict=True)):
        place[row, :count] = torch.arange(count)
        place[row, count : count + silent] = slots + n + torch.arange(silent)
        there[row, : count + silent] = 1
    both = torch.cat([audio.features, encoded.features], 1)
    index = place.to(both.device, non_blocking=True)[..., None].expand(-1, -1, both.shape[-1])
    mask = None if all(n == width for n in read) else there.to(both.device, non_blocking=True)
    states = both.gather(1, index)
    if mask is not None:
        states = states * mask[..., None].to(states.dtype)
    return CompressedEncoderOutput(states, attention_mask=mask)


def backbone_forward(backbone: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `forward` of encoder and decoder without the head, with the mask of the slots for the decoder.

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
            mask = valid.long() if mask is None else mask
        outputs = patch.encoder(model)(marked(patch.augmented(model, features, mask), valid))
        inputs["encoder_outputs"] = outputs
    if outputs is not None and not isinstance(outputs, CompressedEncoderOutput):
        raise ValueError(
            "Under compression `encoder_outputs` must be what this model's encoder returned, as it is, since its "
            "`attention_mask` says which slots are there. To read an output of another model, use compression 'none'."
        )
    if outputs is not None and outputs.attention_mask is not None:
        inputs[SLOT_MASK] = _added(model, outputs)
    return upstream(**inputs)


def _added(model: Any, outputs: CompressedEncoderOutput) -> Tensor:
    """The mask in the form that attention adds to its scores."""
    how = model.config._attn_implementation
    if how not in ("sdpa", "eager"):
        raise ValueError(
            f"Recordings of different lengths in a batch need a mask, which {how!r} does not take here: load the model "
            "with attn_implementation='sdpa', or pass one recording at a time."
        )
    states, mask = outputs.last_hidden_state, outputs.attention_mask
    nothing = torch.zeros((), dtype=states.dtype, device=states.device)
    return nothing.masked_fill(mask[:, None, None, :] == 0, torch.finfo(states.dtype).min)  # type: ignore[index]


def attention_forward(attention: Any, *args: Any, **kwargs: Any) -> Any:
    """Upstream's `forward` of a cross-attention, with the mask of the slots."""
    if args and args[0] is attention:
        args = args[1:]
    mask = kwargs.pop(SLOT_MASK, None)
    if mask is not None:
        kwargs["attention_mask"] = mask
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
