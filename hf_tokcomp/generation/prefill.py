"""From a prompt with audio to a short prompt with embeddings: compress, shorten, project, merge."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compressors.base import AudioTokenCompressor
from ..config.config import CompressionConfig
from ..errors import CacheContinuationError
from ..models.announced import Announced
from ..models.base import ModelPatch
from ..models.cache_names import CACHE
from ..models.instance import compressor_of
from ..ops.record import CompressionRecord, note
from ..prompt.shorten import ShortPrompt, shorten
from .cache_guard import cached_tokens
from .cache_memory import START_ANEW
from .compress import compress_inputs, read_call

logger = logging.getLogger(__name__)


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
    warn_below_budget(config, layout.tokens, audio.counts, patch.frame_rate)
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


def _uncompressed_record(
    model: Any, patch: ModelPatch, inputs: dict[str, Any], announced: Announced
) -> CompressionRecord | None:
    try:
        tokens = read_call(model, patch, inputs, announced).layout.tokens
    except ValueError:
        return None  # the model's own code handles or rejects these inputs
    return CompressionRecord(list(tokens), list(tokens))


FAR_BELOW = 0.9
"""Fraction of the budget's tokens below which a method's count is reported."""


_WARNED: set[str] = set()


def warn_below_budget(config: CompressionConfig, before: list[int], after: list[int], frame_rate: float) -> None:
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
