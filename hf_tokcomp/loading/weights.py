"""Finding, reading and checking an audio compressor's weights in a checkpoint or adapter.

Upstream loads weights before the compressor exists, and skips these as unexpected. Only safetensors files are read;
nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ..errors import CompressorWeightsError
from .stored_files import Where, fetch

COMPRESSOR = "audio_compressor"
Shapes = dict[str, tuple[int, ...]]


def checkpoint_weights(name: str, where: Where, variant: str | None = None) -> dict[str, torch.Tensor]:
    """The compressor's weights in a model's checkpoint by name; empty if there are none."""
    weights: dict[str, torch.Tensor] = {}
    for file in _checkpoint_files(name, where, f".{variant}" if variant else ""):
        weights |= stored_weights(file)
    return weights


def _checkpoint_files(name: str, where: Where, variant: str) -> list[Path]:
    single = fetch(name, f"model{variant}.safetensors", where)
    if single is not None:
        return [single]
    index = fetch(name, f"model.safetensors.index{variant}.json", where)
    if index is None:
        return []
    by_key: dict[str, str] = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {})
    shards = {file for key, file in by_key.items() if compressor_key(key) is not None}
    found = [fetch(name, shard, where) for shard in sorted(shards)]
    return [file for file in found if file is not None]


def stored_weights(file: Path) -> dict[str, torch.Tensor]:
    """The compressor's weights in a file, by name."""
    with safe_open(file, "pt") as opened:
        keys = {key: compressor_key(key) for key in opened.keys()}  # noqa: SIM118 - not a dict
        return {inner: opened.get_tensor(key) for key, inner in keys.items() if inner is not None}


def stored_names(file: Path) -> tuple[tuple[str, ...], Shapes]:
    """The names of all weights in a file, and the shapes of the compressor's by name, without reading them."""
    with safe_open(file, "pt") as opened:
        names = tuple(opened.keys())
        keys = {key: compressor_key(key) for key in names}
        shapes = {key: tuple(opened.get_slice(key).get_shape()) for key, inner in keys.items() if inner is not None}
        return names, {inner: shapes[key] for key, inner in keys.items() if inner is not None}


def compressor_key(key: str) -> str | None:
    """The name relative to the compressor; None for a weight of another module."""
    parts = key.split(".")
    return ".".join(parts[parts.index(COMPRESSOR) + 1 :]) if COMPRESSOR in parts else None


def check_fit(stored: Mapping[str, Any], wanted: Mapping[str, torch.Tensor], source: str) -> None:
    """Raise unless the stored weights (or their shapes) are exactly those of a compressor.

    Raises:
        CompressorWeightsError: some are unexpected, missing, or of another shape; the message names them.
    """
    shapes = {name: tuple(getattr(value, "shape", value)) for name, value in stored.items()}
    problems = {
        "has no place for": set(shapes) - set(wanted),
        "finds no": set(wanted) - set(shapes),
        "has another shape of": {n for n in set(wanted) & set(shapes) if tuple(wanted[n].shape) != shapes[n]},
    }
    said = [f"{problem} {_listed(names)}" for problem, names in problems.items() if names]
    if said:
        raise CompressorWeightsError(
            f"The audio compressor's weights in {source} do not fit: the compressor {'; it '.join(said)}. Load with "
            "the compression they were trained under, or with compression=None and patch afterwards."
        )


def load_weights(compressor: Any, weights: Mapping[str, torch.Tensor], source: str) -> None:
    """Load stored weights into a compressor, all or none.

    Raises:
        CompressorWeightsError: they do not fit.
    """
    check_fit(weights, compressor.state_dict(), source)
    compressor.load_state_dict(dict(weights))


def _listed(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")
