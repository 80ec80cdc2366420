"""Compressed audio without a prompt's call: for an inference engine, or for one that takes embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from ..compressors.base import AudioTokenCompressor
from ..errors import UnsupportedModelError
from ..models.announced import Announced
from ..models.base import ModelPatch
from ..models.instance import compressor_of, patch_of, unwrap
from ..models.windows import Windows
from ..ops.record import CompressedAudio, CompressionRecord, note
from ..prompt.layout import AudioLayout
from .compress import compress_inputs, compress_windows


def compress_audio(
    patch: ModelPatch,
    compressor: AudioTokenCompressor[Any],
    audio_tower: nn.Module,
    projector: nn.Module,
    features: Tensor,
    mask: Tensor | None = None,
    windows: Sequence[int] | None = None,
) -> tuple[list[Tensor], CompressionRecord]:
    """Encode, compress and project audio outside a patched model, by the code that a patched model runs.

    This is what an inference engine needs that has its own language model, and upstream's audio tower and projector.
    The number of slots is `CompressionConfig.output_length` of the audio's tokens, which are the sum of
    `ModelPatch.window_tokens` over its windows.

    Args:
        patch: the model's patch, from `supported_models`.
        compressor: the method, from `AudioTokenCompressor.from_config`; in evaluation mode, if it learns.
        audio_tower: upstream's audio encoder.
        projector: maps encoder space to the language model's. Its own kind is free, as long as it is called like
            upstream's and its weights have upstream's dtype.
        features: ``(windows, mel bins, frames)``, as the model's processor returns them.
        mask: ``(windows, frames)``, as the processor returns it; None for a model that takes none.
        windows: number of windows of each audio; None if every window is an audio.

    Returns:
        For every audio its slots ``(slots, hidden)`` in the language model's space, and the record of all, whose
        `positions` say where in the audio each slot belongs.

    Raises:
        CompressionConfigError: the method goes by the user's question, or the encoder cannot do what the config asks.
        UnsupportedModelError: this model's audio needs more than tower and projector.
        ValueError: the windows do not add up, or are not those of this model.

    Example:
        >>> patch = hf_tokcomp.supported_models()["qwen2_audio"]
        >>> compressor = hf_tokcomp.AudioTokenCompressor.from_config(hf_tokcomp.LTBMConfig(retention_ratio=0.25))
        >>> parts = model.model.audio_tower, model.model.multi_modal_projector
        >>> features, mask = inputs["input_features"], inputs["feature_attention_mask"]
        >>> slots, record = hf_tokcomp.compress_audio(patch, compressor, *parts, features, mask)
        >>> [len(each) for each in slots], record.tokens_before
        ([32], [127])
    """
    model = patch.around(audio_tower, projector)
    patch.check_encoder(model, compressor.config.encoder)
    call = {patch.features: features} | ({} if patch.feature_mask is None else {patch.feature_mask: mask})
    patch.check_call(model, call)
    given = patch.audio_inputs(call)
    frames = [int(n) for n in given.frames.tolist()]
    tokens = [patch.window_tokens(n) for n in frames]
    layout = _layout_of(tokens, windows)
    read = Windows(given.features, frames, given.mask, layout.numbers(len(frames)))
    audio = compress_windows(model, patch, compressor, read, tokens, layout)
    return _slots(patch, model, audio), _record(audio, layout, patch)


@torch.no_grad()
def embed_audio(model: Any, inputs: Mapping[str, Any]) -> list[Tensor]:
    """The compressed audio of a prompt, as the language model reads it: for engines that take embeddings.

    vLLM started with ``enable_mm_embeds`` takes each tensor in an audio's place, as ``{"audio": [tensor]}``, and needs
    no plug-in for it; docs/serving.md has an example. There, positions are always ``contiguous``.

    Args:
        model: a patched model, also inside PEFT; under ``none`` all tokens are kept.
        inputs: what the model's processor returned, for one prompt or a batch. The processor may be patched.

    Returns:
        One tensor ``(slots, hidden)`` per audio, in the order of the prompts, without gradients.
        ``model.audio_compressor.last`` has the record.

    Raises:
        PlaceholderMismatchError: the placeholders do not match the audio.
        RuntimeError: the model is not patched.
        UnsupportedModelError: its decoder attends to the encoder, and no prompt holds the audio.
        ValueError: there is no audio, or it cannot be compressed correctly.

    Example:
        >>> model = hf_tokcomp.patch(model, {"method": "ltbm", "retention_ratio": 0.25})
        >>> [each.shape[0] for each in hf_tokcomp.embed_audio(model, inputs)]
        [32]
    """
    whole = unwrap(model)
    patch = patch_of(whole)
    part = patch.inner(whole)
    if not patch.reads_prompts:
        raise UnsupportedModelError(
            f"The decoder of {patch.model_type!r} reads the encoder's output, not embeddings in a prompt: call "
            "`model.get_encoder()`, whose output is compressed."
        )
    call = dict(inputs)
    for name in ("input_ids", patch.features):
        if call.get(name) is None:
            raise ValueError(f"There is no `{name}` in the inputs; pass all that the processor returns for audio.")
    announced = Announced.taken_from(call)
    reading, audio = compress_inputs(part, patch, call, announced)
    note(compressor_of(part), _record(audio, reading.layout, patch))
    return _slots(patch, part, audio)


def _layout_of(tokens: list[int], windows: Sequence[int] | None) -> AudioLayout:
    """The audios, each of the next so many windows."""
    numbers = [1] * len(tokens) if windows is None else [int(n) for n in windows]
    if sum(numbers) != len(tokens) or any(n < 1 for n in numbers):
        raise ValueError(
            f"windows={numbers} are {sum(numbers)} windows of at least one each, but the features have {len(tokens)}."
        )
    ends = list(accumulate(numbers))
    first = [end - number for end, number in zip(ends, numbers, strict=True)]
    sums = [sum(tokens[begin:end]) for begin, end in zip(first, ends, strict=True)]
    return AudioLayout(sums, first, list(range(len(sums))), already_short=False)


def _slots(patch: ModelPatch, model: Any, audio: CompressedAudio) -> list[Tensor]:
    projected = patch.project(model, audio.features)
    return [projected[row, :count] for row, count in enumerate(audio.counts)]


def _record(audio: CompressedAudio, layout: AudioLayout, patch: ModelPatch) -> CompressionRecord:
    return CompressionRecord(
        list(layout.tokens),
        list(audio.counts),
        audio.assignment,
        audio.times(patch.frame_rate),
        positions=audio.positions,
    )
