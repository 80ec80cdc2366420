"""Subject: the model that is measured, with a way from sounds to its inputs."""

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
from .prompts import Prompter

Inputs = dict[str, Any]


@dataclass(eq=False)
class Subject:
    """A model to measure; it is loaded when it is first asked for, after everything else has been checked.

    Args:
        name: what reports call it.
        load: gives the model, not patched.
        patch: what is known of it.
        rate: samples per second of its sounds.
        window_seconds: of one window of its encoder.
        longest_seconds: of an audio; it would cut off the rest.
        prepare: from ``(samples,)`` each to the model's inputs, on the CPU.
        facts: what a report says of its weights and layers.
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
        """What a report says of the loaded model."""
        weights = list(self.model.parameters())
        return {
            "name": self.name,
            "dtype": str(self.dtype).removeprefix("torch."),
            **self.facts,
            "parameters": sum(weight.numel() for weight in weights),
            "weight_bytes": sum(weight.nbytes for weight in weights),
        }

    def inputs(self, sounds: Sequence[Samples]) -> Inputs:
        """The inputs of one prompt for each sound, where the model is."""
        made = self.prepare(sounds)
        return {
            name: value.to(self.device, self.dtype if value.is_floating_point() else value.dtype)
            for name, value in made.items()
            if isinstance(value, torch.Tensor)
        }


def load_subject(name: str | None, device: str, dtype: str) -> Subject:
    """A model from a folder or the Hub, or the small one that ships with the package, without its compression.

    Raises:
        ValueError: it is an adapter.
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
    prompt, processor, rate = reader.prompt(GENERAL_PROMPT), reader.processor, reader.rate

    def load() -> Any:
        reader.load_model(device, dtype)
        return unpatch(reader.model)

    def prepare(sounds: Sequence[Samples]) -> Mapping[str, Any]:
        return model_inputs(processor, [prompt] * len(sounds), sounds, rate)  # type: ignore[no-any-return]

    return Subject(
        SMALL_MODEL.name if found == str(SMALL_MODEL) else str(name),
        load,
        reader.patch,
        rate,
        float(processor.feature_extractor.chunk_length),
        reader.patch.longest_audio(processor),
        prepare,
        {"weights": "its own", "layers": None},
    )


def random_subject(
    name: str, values: Mapping[str, Any], device: str, dtype: torch.dtype, layers: int | None = None
) -> Subject:
    """A model with random weights.

    Args:
        name: what reports call it.
        values: its sizes, as `sizes_of` returns them.
        device: where it is made.
        dtype: of its weights.
        layers: what is left of each stack of layers, for the report; None for all.
    """
    config, patch = config_of(values), load_patch(PATCHES[values["model_type"]])
    prompter = Prompter(config, patch)
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
