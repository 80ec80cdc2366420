"""The expected outputs of a patched model, from the unpatched one: prompt by prompt, no padding, cache or `generate`.

Nothing here uses the patch to encode or shorten. The audio features are the input of upstream's projector, and the
prompt is the input of upstream's language model, both recorded while upstream runs.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compressors.base import AudioTokenCompressor
from ..config.config import CompressionConfig
from ..ops.audio_tokens import AudioTokens
from .subject import Subject

SELECTION = "stride"
"""A method whose slots are unchanged tokens, so that not even the projector needs to be called."""


@dataclass(eq=False)
class Read:
    """What upstream computes from a batch.

    Args:
        embeds: ``(batch, prompt, hidden)``, the language model's input.
        features: ``(tokens, dim)`` of each audio, the projector's input.
        runs: the runs of each row, see `Subject.audio_runs`.
    """

    embeds: Tensor
    features: list[Tensor]
    runs: list[list[tuple[int, int]]]


def read(subject: Subject, model: Any, inputs: dict[str, Any]) -> Read:
    """Run upstream once and record the inputs of its projector and language model."""
    patch, seen = subject.patch, dict[str, Tensor]()

    def at_projector(_module: Any, args: tuple[Any, ...]) -> None:
        seen.setdefault("features", args[0])

    def at_language_model(_module: Any, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.setdefault("embeds", kwargs["inputs_embeds"])

    with ExitStack() as hooks:
        hooks.enter_context(patch.parts(model).projector.register_forward_pre_hook(at_projector))
        handle = patch.language_model(model).register_forward_pre_hook(at_language_model, with_kwargs=True)
        hooks.enter_context(handle)
        model(**subject.upstream(inputs))
    runs = subject.audio_runs(inputs)
    counts = [end - begin for row in runs for begin, end in row]
    return Read(seen["embeds"], _of_audios(seen["features"], counts), runs)


def _of_audios(features: Tensor, counts: list[int]) -> list[Tensor]:
    """The features of each audio, from windows ``(windows, tokens, dim)`` or concatenated tokens ``(tokens, dim)``."""
    if features.dim() == 2:
        return list(torch.split(features, counts))
    found, window = [], 0
    for count in counts:
        parts, left = [], count
        while left > 0:
            parts.append(features[window, :left])
            left, window = left - len(parts[-1]), window + 1
        found.append(torch.cat(parts) if parts else features.new_zeros(0, features.shape[-1]))
    return found


@dataclass(eq=False)
class Prompt:
    """A short prompt of one row: embeddings ``(1, short, hidden)``, positions ``(1, short)`` and the next position."""

    embeds: Tensor
    positions: Tensor
    following: int


def prompts(subject: Subject, model: Any, inputs: dict[str, Any], config: CompressionConfig) -> list[Prompt]:
    """The short prompt of every row for a compression."""
    upstream, patch = read(subject, model, inputs), subject.patch
    features, found = iter(upstream.features), []
    for row, runs in enumerate(upstream.runs):
        valid = [i for i, there in enumerate(inputs["attention_mask"][row].tolist()) if there]
        place = {column: number for number, column in enumerate(valid)}
        embeds, positions, column = [], [], valid[0]
        for begin, end in runs:
            text = [c for c in range(column, begin) if c in place]
            embeds.append(upstream.embeds[row, text])
            positions += [place[c] for c in text]
            own = next(features)
            compressor = AudioTokenCompressor.from_config(config)
            audio = compressor(AudioTokens(own[None], torch.tensor([len(own)]), frame_rate=patch.frame_rate))
            slots = audio.positions[0, : audio.counts[0]].tolist()
            if config.method == SELECTION:
                embeds.append(upstream.embeds[row, [begin + slot for slot in slots]])
            else:
                embeds.append(patch.project(model, audio.features[:, : audio.counts[0]])[0])
            positions += [place[begin + slot] for slot in slots]
            column = end
        text = [c for c in range(column, inputs["input_ids"].shape[1]) if c in place]
        embeds.append(upstream.embeds[row, text])
        positions += [place[c] for c in text]
        following = len(valid)
        if config.positions == "contiguous":
            following = len(positions)
            positions = list(range(following))
        found.append(Prompt(torch.cat(embeds)[None], torch.tensor([positions]), following))
    return found


def greedy(model: Any, prompt: Prompt, new: int) -> tuple[Tensor, list[int]]:
    """The prompt's logits ``(short, vocabulary)`` and the greedy ids that follow, each computed from the whole text."""
    embeds, positions, every, said = prompt.embeds, prompt.positions, list[Tensor](), list[int]()
    for step in range(max(1, new)):
        ones = torch.ones_like(positions)
        every.append(model(inputs_embeds=embeds, attention_mask=ones, position_ids=positions, use_cache=False).logits)
        said.append(int(every[-1][0, -1].argmax()))
        embeds = torch.cat([embeds, model.get_input_embeddings()(torch.tensor([[said[-1]]]))], 1)
        positions = torch.cat([positions, torch.tensor([[prompt.following + step]])], 1)
    return every[0][0], said
