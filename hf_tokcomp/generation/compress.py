"""From a call's audio to its slots, in encoder space: read, encode, join windows, compress."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compressors.base import AudioTokenCompressor
from ..errors import CompressorOutputError
from ..models.announced import Announced, warn_of_separate_windows
from ..models.base import EncodedWindows, ModelPatch
from ..models.encoder.reuse import encode
from ..models.instance import compressor_of
from ..models.windows import AudioInputs, Windows
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from ..ops.record import CompressedAudio
from ..prompt.layout import AudioLayout, OutputLength, match_audios
from ..prompt.requirements import add_language_model_side
from ..prompt.shorten import PromptFacts, read_facts


@dataclass(eq=False)
class Reading:
    """The inputs of a call, each read once.

    Args:
        audio: the audio inputs.
        mask: ``(batch, prompt)``, the attention mask, or None.
        facts: what was read from ids and masks.
        window_tokens: number of tokens of each window.
        layout: the audios.
        output_length: maps a number of tokens to the number left, with caching; None if that depends on the content.
    """

    audio: AudioInputs
    mask: Tensor | None
    facts: PromptFacts
    window_tokens: list[int]
    layout: AudioLayout
    output_length: OutputLength | None


def compress_inputs(
    model: Any, patch: ModelPatch, inputs: dict[str, Any], announced: Announced
) -> tuple[Reading, CompressedAudio]:
    """Compress the audio of a call, in encoder space.

    Args:
        model: a patched model.
        patch: its `ModelPatch`.
        inputs: the call's keywords, or what the processor returned.
        announced: the values from a patched processor.

    Raises:
        PlaceholderMismatchError: the placeholders do not match the audio.
        ValueError: the call cannot be compressed correctly.
    """
    compressor: AudioTokenCompressor[Any] = compressor_of(model)
    patch.check_call(model, inputs)
    reading = read_call(model, patch, inputs, announced)
    facts, layout, given = reading.facts, reading.layout, reading.audio
    _refuse_packed(inputs, facts)
    if compressor.config.long_audio == "windows" and announced.windows is None:
        warn_of_separate_windows(model, given.features.shape[-1] in facts.frames)
    windows = Windows(given.features, facts.frames, given.mask, layout.numbers(len(facts.frames)))
    text = inputs["input_ids"], reading.mask
    return reading, compress_windows(
        model, patch, compressor, windows, reading.window_tokens, layout, text, reading.output_length
    )


def compress_windows(
    model: Any,
    patch: ModelPatch,
    compressor: AudioTokenCompressor[Any],
    windows: Windows,
    window_tokens: list[int],
    layout: AudioLayout,
    text: tuple[Tensor, Tensor | None] | None = None,
    output_length: OutputLength | None = None,
) -> CompressedAudio:
    """Encode and compress: from windows to the slots of each audio, in encoder space.

    Args:
        windows: the windows of all audios in order; for the others, and errors, see `compress_encoded`.
    """
    encoded = encode(model, patch, windows, compressor.requires, compressor.config.encoder)
    return compress_encoded(model, patch, compressor, encoded, window_tokens, layout, text, output_length)


def compress_encoded(
    model: Any,
    patch: ModelPatch,
    compressor: AudioTokenCompressor[Any],
    encoded: EncodedWindows,
    window_tokens: list[int],
    layout: AudioLayout,
    text: tuple[Tensor, Tensor | None] | None = None,
    output_length: OutputLength | None = None,
) -> CompressedAudio:
    """Compress what the encoder made of the windows: the slots of each audio, in encoder space.

    Args:
        model: the model, or what `ModelPatch.around` made of its parts.
        patch: its `ModelPatch`.
        compressor: the method.
        encoded: the encoder's output.
        window_tokens: number of tokens of each window.
        layout: which windows belong to which audio, and to which row of the text.
        text: ids and attention mask, each ``(batch, prompt)``; None if the method does not need the question.
        output_length: maps a number of tokens to the number left, with caching; None if it is not known.

    Raises:
        CompressorOutputError: the method returned more slots than there are tokens.
    """
    config, needs = compressor.config, compressor.requires
    tokens = _whole_audios(encoded, window_tokens, layout, patch.frame_rate)
    tokens = add_language_model_side(tokens, needs, model, patch, text, layout.rows)
    if output_length is not None:
        tokens.slots_for(config, functools.partial(list, map(output_length, layout.tokens)))
    audio: CompressedAudio = compressor(tokens)
    if len(audio.counts) != len(layout.tokens) or any(k > n for k, n in zip(audio.counts, layout.tokens, strict=True)):
        raise CompressorOutputError(
            f"{type(compressor).__name__} returned {audio.counts} tokens for audios of {layout.tokens}."
        )
    return audio


def read_call(model: Any, patch: ModelPatch, inputs: dict[str, Any], announced: Announced) -> Reading:
    """Read what a call says about its audio; arguments and errors are those of `compress_inputs`."""
    config = model.audio_compressor.config
    audio, mask = patch.audio_inputs(inputs), _flat_mask(inputs)
    ids, positions = inputs["input_ids"], inputs.get("position_ids")
    parted = patch.several_audios and audio.full is not None and announced.windows is None and audio.windows is None
    facts = read_facts(ids, mask, audio.frames, patch.audio_token_id(model), positions, parted)
    output_length: OutputLength | None = None
    if config.deterministic_length:
        output_length = functools.cache(functools.partial(config.output_length, frame_rate=patch.frame_rate))
    tokens = facts.frames if audio.counts_tokens else [patch.window_tokens(frames) for frames in facts.frames]
    layout = match_audios(
        facts.placeholders,
        tokens,
        output_length,
        window_is_full=None if audio.full is None else [frames == audio.full for frames in facts.frames],
        runs=facts.runs,
        windows_per_audio=audio.windows if announced.windows is None else announced.windows,
        written=announced.placeholders,
    )
    return Reading(audio, mask, facts, tokens, layout, output_length)


def _whole_audios(
    encoded: EncodedWindows, window_tokens: list[int], layout: AudioLayout, frame_rate: float
) -> AudioTokens:
    """Concatenate the windows of each audio, which the caller may have made, so that any of them may be short."""
    width = max(layout.tokens, default=0)
    one_each = layout.first_window == list(range(len(window_tokens)))

    def gather(values: Tensor | None) -> Tensor | None:
        if values is None:
            return None
        if one_each and width <= values.shape[1]:
            return values[:, :width]
        # Built on the host: where each token of all windows is, and which of these tokens begin an audio.
        counts = torch.tensor(window_tokens, dtype=torch.long)
        begins = counts.cumsum(0) - counts
        padding = torch.arange(len(counts)) * values.shape[1] - begins
        place = torch.arange(sum(window_tokens)) + padding.repeat_interleave(counts)
        first = begins[torch.tensor(layout.first_window, dtype=torch.long)]
        index = place[(first[:, None] + torch.arange(width)).clamp(max=len(place) - 1)]
        return values.flatten(0, 1)[index.to(values.device, non_blocking=True)]

    features = gather(encoded.features)
    if features is None:
        raise CompressorOutputError("The patch returned no features.")
    names = [field.name for field in dataclasses.fields(encoded) if field.name != "features"]
    optional: dict[str, Any] = {name: gather(getattr(encoded, name)) for name in names}
    return AudioTokens(
        features,
        on_device(layout.tokens, features.device),
        **optional,
        frame_rate=frame_rate,
        counts=list(layout.tokens),
    )


_PACKED = ("cu_seq_lens_q", "cu_seq_lens_k", "seq_idx")
"""Keywords that say where the samples in a packed row begin."""


def _refuse_packed(inputs: dict[str, Any], facts: PromptFacts) -> None:
    """Raise if samples are packed into a row: what separates them fits the long row only, so they would mix.

    Upstream separates them by these keywords, or by positions that restart.
    """
    given = [name for name in _PACKED if inputs.get(name) is not None]
    if given or facts.restarts:
        raise ValueError(
            f"Under compression several samples cannot be packed into one row ({given[0] if given else 'position_ids'}"
            f"{'' if given else ' begin again within a row'}). Give each sample its own row, padded, with an "
            "`attention_mask`: packing=False and padding_free=False in a trainer's arguments."
        )


def _flat_mask(inputs: dict[str, Any]) -> Tensor | None:
    mask = inputs.get("attention_mask")
    if mask is not None and (not isinstance(mask, Tensor) or mask.dim() != 2):
        raise ValueError(
            "Under compression `attention_mask` must be 2-D, (batch, prompt); a mask per query cannot be shortened."
        )
    return mask
