"""A patched processor writes as many placeholders as the compressed audio will have."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import torch

from ..config.config import CompressionConfig
from ..models.announced import PLACEHOLDERS, WINDOWS
from ..models.base import ModelPatch
from ..models.instance import replace
from ..models.registry import load_patch
from ..prompt.layout import match_long_audios


def patch_processor(processor: Any, patch_module: str, patch: ModelPatch, config: CompressionConfig) -> None:
    """Replace `replace_audio_token` on this processor instance."""
    # No reference to the processor itself: `to_dict` deep-copies every attribute, tokenizer and all.
    short = functools.partial(
        short_audio_token,
        token=processor.audio_token,
        config=config,
        frame_rate=patch.frame_rate,
        patch_module=patch_module,
    )
    replace(processor, patch_module, {}, {"replace_audio_token": short, "compression_config": config})


def short_audio_token(
    audio_inputs: Any,
    audio_idx: int,
    *,
    token: str,
    config: CompressionConfig,
    frame_rate: float,
    patch_module: str,
    **_: Any,
) -> str:
    """The placeholders of one audio, after compression.

    The number of placeholders written for each audio is added to ``audio_inputs``, which tells the model that the
    prompt is short rather than truncated. For a model whose audio spans windows, so is the number of windows of each
    audio: from short placeholders alone the model could not always tell which windows belong together.
    """
    patch = load_patch(patch_module)
    counts = [int(n) for n in audio_inputs["num_audio_tokens"]]
    if config.is_upstream:
        return token * counts[audio_idx]
    if PLACEHOLDERS not in audio_inputs:
        audio_inputs[PLACEHOLDERS] = torch.tensor([config.output_length(n, frame_rate) for n in counts])
    if patch.audio_spans_windows and WINDOWS not in audio_inputs:
        audio_inputs[WINDOWS] = torch.tensor(_windows(audio_inputs[patch.feature_mask], counts, patch))
    return token * int(audio_inputs[PLACEHOLDERS][audio_idx])


def _windows(mask: Any, counts: list[int], patch: ModelPatch) -> list[int]:
    """Windows of each audio, from the mask of the frames ``(windows, frames)`` and the audios' full counts."""
    frames = [int(n) for n in torch.as_tensor(mask).sum(-1)]
    tokens = [patch.window_tokens(n) for n in frames]
    layout = match_long_audios(counts, tokens, [n == mask.shape[-1] for n in frames], None)
    bounds = [0, *layout.first_window[1:], len(frames)]
    return [end - start for start, end in pairwise(bounds)]
