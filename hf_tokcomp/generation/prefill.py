"""From a prompt with audio to a short prompt with embeddings: encode, compress, project, shorten, merge."""

from __future__ import annotations

import dataclasses
import functools
import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compressors.base import AudioTokenCompressor
from ..config.config import CompressionConfig
from ..errors import CacheContinuationError, CompressorOutputError
from ..models.announced import Announced, warn_of_separate_windows
from ..models.base import EncodedWindows, ModelPatch
from ..models.cache_names import CACHE
from ..models.encoder.reuse import encode
from ..models.instance import compressor_of
from ..models.windows import AudioInputs, Windows
from ..ops.audio_tokens import AudioTokens
from ..ops.device import on_device
from ..ops.record import CompressedAudio, CompressionRecord, note
from ..prompt.layout import AudioLayout, OutputLength, match_audios
from ..prompt.requirements import add_language_model_side
from ..prompt.shorten import PromptFacts, ShortPrompt, read_facts, shorten
from .cache_guard import cached_tokens
from .cache_memory import START_ANEW

logger = logging.getLogger(__name__)

_PACKED = ("cu_seq_lens_q", "cu_seq_lens_k", "seq_idx")
"""Keywords that say where the samples in a packed row begin."""


@dataclass(eq=False)
class Prefill:
    """A short prompt, ready for the model's own code.

    Args:
        prompt: the short prompt.
        inputs_embeds: ``(batch, short, hidden)``, text and compressed audio.
    """

    prompt: ShortPrompt
    inputs_embeds: Tensor


def carries_audio(patch: ModelPatch, inputs: dict[str, Any]) -> bool:
    """Whether upstream would insert audio into this call, which it does only with ids, and more than one."""
    ids = inputs.get("input_ids")
    return (
        inputs.get(patch.features) is not None
        and inputs.get("inputs_embeds") is None
        and ids is not None
        and ids.shape[1] != 1
    )


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


@torch.compiler.disable  # type: ignore[untyped-decorator]  # the number of tokens left is read from the device, and hooks are added temporarily
def compress_prompt(
    model: Any, patch: ModelPatch, inputs: dict[str, Any], announced: Announced, generating: bool = False
) -> Prefill | None:
    """Compress the audio of a call and shorten its prompt; the record is stored in ``model.audio_compressor.last``.

    Args:
        model: a patched model.
        patch: its `ModelPatch`.
        inputs: the call's keywords.
        announced: the values from a patched processor.
        generating: whether the call comes from `generate`, see `shorten`.

    Returns:
        None if everything is left to the model's own code, as with ``none``.

    Raises:
        PlaceholderMismatchError: the placeholders do not match the audio.
        ValueError: a mask or argument cannot be shortened, or rows are packed.
    """
    compressor: AudioTokenCompressor[Any] = compressor_of(model)
    config = compressor.config
    note(compressor, None)
    if config.is_upstream:
        note(compressor, _uncompressed_record(model, patch, inputs, announced))
        return None
    if cached_tokens(inputs.get(CACHE)) > 0:
        if not bool((inputs["input_ids"] == patch.audio_token_id(model)).any()):
            return None  # a cache filled by other code, and no new audio: leave it to upstream
        raise CacheContinuationError(f"Compressed audio cannot be put behind an earlier cache. {START_ANEW}")
    reading, audio = compress_inputs(model, patch, inputs, announced)
    facts, layout = reading.facts, reading.layout
    _warn_below_budget(config, layout.tokens, audio.counts, patch.frame_rate)
    prompt = shorten(
        inputs["input_ids"],
        inputs.get("position_ids"),
        inputs.get("labels"),
        facts=facts,
        layout=layout,
        audio=audio,
        pad_token=_pad_token(model, patch),
        positions=config.positions,
        generating=generating,
    )
    record = CompressionRecord(
        list(layout.tokens),
        list(audio.counts),
        audio.assignment,
        audio.times(patch.frame_rate),
        prompt.columns,
        prompt.labels,
        inputs["input_ids"].shape[1],
        audio.positions,
    )
    note(compressor, record)
    return Prefill(prompt, _merge(model, prompt, patch.project(model, audio.features), audio.counts))


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
    reading = _read(model, patch, inputs, announced)
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
        model: the model, or what `ModelPatch.around` made of its parts.
        patch: its `ModelPatch`.
        compressor: the method.
        windows: the windows of all audios in order.
        window_tokens: number of tokens of each window.
        layout: which windows belong to which audio, and to which row of the text.
        text: ids and attention mask, each ``(batch, prompt)``; None if the method does not need the question.
        output_length: maps a number of tokens to the number left, with caching; None if it is not known.

    Raises:
        CompressorOutputError: the method returned more slots than there are tokens.
    """
    config, needs = compressor.config, compressor.requires
    encoded = encode(model, patch, windows, needs, config.encoder)
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


def _uncompressed_record(
    model: Any, patch: ModelPatch, inputs: dict[str, Any], announced: Announced
) -> CompressionRecord | None:
    try:
        tokens = _read(model, patch, inputs, announced).layout.tokens
    except ValueError:
        return None  # the model's own code handles or rejects these inputs
    return CompressionRecord(list(tokens), list(tokens))


def _read(model: Any, patch: ModelPatch, inputs: dict[str, Any], announced: Announced) -> Reading:
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


FAR_BELOW = 0.9
"""Fraction of the budget's tokens below which a method's count is reported."""
_WARNED: set[str] = set()


def _warn_below_budget(config: CompressionConfig, before: list[int], after: list[int], frame_rate: float) -> None:
    """Warn once per config if its method keeps far fewer tokens than the budget allows.

    A comparison at equal budgets would then be unfair, and only the counts would show it.
    """
    asked = [config.budget_length(n, frame_rate) for n in before]
    wanted = sum(n for n in asked if n is not None)
    if sum(after) >= FAR_BELOW * wanted or None in asked:
        return
    name = config.to_json_string()
    if name not in _WARNED:
        _WARNED.add(name)
        logger.warning(
            "%r kept %d of %d audio tokens, where the budget asks for %d; `model.audio_compressor.last` has the counts "
            "of every call. Compare methods at the tokens they keep, or raise the budget.",
            config.method,
            sum(after),
            sum(before),
            wanted,
        )


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


def _pad_token(model: Any, patch: ModelPatch) -> int:
    """The id for padding; since padding is masked, any id except the placeholder's will do."""
    for config in (getattr(model, "generation_config", None), model.config, model.config.get_text_config()):
        pad: Any = getattr(config, "pad_token_id", None)
        if isinstance(pad, int) and pad >= 0 and pad != patch.audio_token_id(model):
            return int(pad)
    return 0 if patch.audio_token_id(model) != 0 else 1


def _merge(model: Any, prompt: ShortPrompt, projected: Tensor, counts: list[int]) -> Tensor:
    # A placeholder need not be in the vocabulary.
    embeds: Tensor = model.get_input_embeddings()(prompt.input_ids.masked_fill(prompt.is_audio, 0))
    width = projected.shape[1]
    # Built on the host: which rows of the padded batch are slots is known without reading the device.
    index = torch.cat([torch.arange(k) + i * width for i, k in enumerate(counts)] or [torch.arange(0)])
    flat = projected.flatten(0, 1)[index.to(projected.device, non_blocking=True)].to(embeds.device, embeds.dtype)
    return embeds.masked_scatter(prompt.is_audio.to(embeds.device)[..., None], flat)
