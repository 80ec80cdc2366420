"""Whole models with random weights, built from shipped sizes, since speed does not depend on the weights.

Each file in ``configs/`` holds the sizes of a public model, as facts, with their source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...models.registry import PATCHES, load_patch

CONFIGS = Path(__file__).resolve().parent / "configs"
LAYERS = ("num_hidden_layers", "encoder_layers", "decoder_layers")
"""Names of a config for how many layers a stack has."""


def architectures(reads_prompts: bool | None = None) -> dict[str, Mapping[str, Any]]:
    """The available models by name, each with its ``source`` and its ``config``.

    Args:
        reads_prompts: whether to return those that read audio in a prompt, or those whose decoder attends to the
            encoder; None for all.
    """
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(CONFIGS.glob("*.json"))}
    if reads_prompts is None:
        return found
    kinds = {name: load_patch(PATCHES[values["config"]["model_type"]]) for name, values in found.items()}
    return {name: values for name, values in found.items() if kinds[name].reads_prompts == reads_prompts}


def sizes_of(name: str, layers: int | None = None) -> dict[str, Any]:
    """The values transformers needs to create the config of a model.

    Args:
        name: name of the model.
        layers: number of layers kept in each stack: the encoder, and the language model or decoder; None for all.

    Raises:
        ValueError: there is no such model, or it has fewer layers.
    """
    known = architectures()
    if name not in known:
        raise ValueError(f"No sizes are known for {name!r}. Available: {', '.join(known)}.")
    values = json.loads(json.dumps(known[name]["config"]))
    parts = [values[part] for part in ("audio_config", "text_config") if part in values] or [values]
    for part, key in [(part, key) for part in parts for key in LAYERS if key in part]:
        if layers is not None:
            if not 1 <= layers <= part[key]:
                raise ValueError(f"{name} has {part[key]} layers; keep 1 to {part[key]}.")
            part[key] = layers
    return dict(values)


def config_of(values: Mapping[str, Any]) -> Any:
    """The transformers config of a model from its sizes, as returned by `sizes_of`."""
    from transformers import AutoConfig

    given = dict(values)
    return AutoConfig.for_model(given.pop("model_type"), **given)


def build(config: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """A model with random weights, created directly on its device and in its precision, without copies.

    Args:
        config: the transformers config of the model.
        device: device of the weights.
        dtype: dtype of the weights.

    Returns:
        The model, ready to generate; the weights are the same for every call on the same kind of device.
    """
    import transformers

    model_class: Any = getattr(transformers, load_patch(PATCHES[config.model_type]).model_classes[0])
    kept = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(kept), torch.device(device):
        torch.manual_seed(0)
        return model_class._from_config(config, dtype=dtype).eval()
