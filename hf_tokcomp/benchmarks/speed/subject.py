"""Subject: the model to measure, and the conversion of sounds to its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from ...audio.loading import Samples
from ...inference.prompts import model_inputs
from ...models.base import ModelPatch
from ...models.registry import PATCHES, load_patch
from .architectures import build, config_of
from .prompts import Listener, Prompter

Inputs = dict[str, Any]
LONG = 30.0
"""Seconds of a clip for a model that reads audio of any length, without windows."""


@dataclass(eq=False)
class Subject:
    """A model to measure, loaded on first access, after everything else has been checked.

    Args:
        name: its name in reports.
        load: function that returns the unpatched model.
        patch: the patch of the model.
        rate: sampling rate of its sounds.
        window_seconds: length of one window of its encoder, or `LONG`.
        longest_seconds: maximum length of an audio; longer audio would be truncated.
        prepare: function from ``(samples,)`` per sound to the model's inputs, on the CPU.
        facts: facts about its weights and layers, for reports.
    """

    name: str
    load: Callable[[], Any]
    patch: ModelPatch
    rate: int
    window_seconds: float
    longest_seconds: float
    prepare: Callable[[Sequence[Samples]], Mapping[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def model(self) -> Any:
        return self.load()

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype  # type: ignore[no-any-return]

    def about(self) -> dict[str, Any]:
        """Facts about the loaded model, for reports."""
        weights = list(self.model.parameters())
        return {
            "name": self.name,
            "dtype": str(self.dtype).removeprefix("torch."),
            **self.facts,
            "parameters": sum(weight.numel() for weight in weights),
            "weight_bytes": sum(weight.nbytes for weight in weights),
        }

    def inputs(self, sounds: Sequence[Samples]) -> Inputs:
        """The inputs for a batch of sounds, with a prompt for each if the model reads one, on the model's device."""
        made = self.prepare(sounds)
        return {
            name: value.to(self.device, self.dtype if value.is_floating_point() else value.dtype)
            for name, value in made.items()
            if isinstance(value, torch.Tensor)
        }


def load_subject(name: str | None, device: str, dtype: str) -> Subject:
    """A model from a folder or the Hub, or the small one that ships with the package, without its compression.

    Raises:
        ValueError: `name` is an adapter.
        what `hf_tokcomp.inference.reader.Reader` raises.
    """
    from ...checkpoints import SMALL_MODEL
    from ...inference.reader import Reader
    from ...inference.recordings import GENERAL_PROMPT, find_model
    from ...patching.patch import unpatch

    found = find_model(name)
    reader = Reader(found)
    if reader.adapter is not None:
        raise ValueError(f"{name} is an adapter, and as fast as its base model; measure {reader.base}.")
    prompt = reader.prompt(GENERAL_PROMPT if reader.patch.reads_prompts else "")
    processor, rate = reader.processor, reader.rate
    extractor, longest = getattr(processor, reader.patch.extractor), reader.patch.longest_audio(processor)

    def load() -> Any:
        reader.load_model(device, dtype)
        whole = unpatch(reader.model)
        # Of a model that speaks, what reads and writes. torch's counter of operations fails at a module that is given
        # a weight with gradients, as the queries of Granite Speech's Q-Former are.
        return reader.patch.inner(whole).requires_grad_(False)

    def prepare(sounds: Sequence[Samples]) -> Mapping[str, Any]:
        return model_inputs(processor, [prompt] * len(sounds), sounds, rate)  # type: ignore[no-any-return]

    return Subject(
        SMALL_MODEL.name if found == str(SMALL_MODEL) else str(name),
        load,
        reader.patch,
        rate,
        min(float(getattr(extractor, "chunk_length", LONG)), LONG, longest),
        longest,
        prepare,
        {"weights": "its own", "layers": None},
    )


def random_subject(
    name: str, values: Mapping[str, Any], device: str, dtype: torch.dtype, layers: int | None = None
) -> Subject:
    """A model with random weights.

    Args:
        name: its name in reports.
        values: its sizes, as returned by `sizes_of`.
        device: the device it is created on.
        dtype: dtype of its weights.
        layers: number of layers kept in each stack, for the report; None for all.
    """
    config, patch = config_of(values), load_patch(PATCHES[values["model_type"]])
    prompter = Prompter(config, patch) if patch.reads_prompts else Listener(config, patch)
    return Subject(
        name,
        lambda: build(config, torch.device(device), dtype),
        patch,
        prompter.rate,
        prompter.window_seconds,
        prompter.longest_seconds,
        prompter,
        {"weights": "random", "layers": layers},
    )
