"""Reading the compression from an adapter's files, before anything is changed."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..config.config import CompressionConfig
from ..config.files import CONFIG_NAME
from ..errors import CompressorWeightsError
from ..hub.errors import MissingFileError
from .precedence import read_stored
from .stored_files import Where, fetch
from .weights import (
    COMPRESSOR,
    Shapes,
    check_fit,
    compressor_key,
    load_weights,
    stored_names,
    stored_weights,
)

logger = logging.getLogger(__name__)


@dataclass
class StoredAdapter:
    """An adapter, as far as compression is concerned.

    Args:
        name: folder or Hub id.
        compression: the compression it was trained under; None if unknown.
        base: the base model's folder or Hub id.
        base_revision: its revision, if the adapter names one.
        whole: whether it has the compressor's own weights (``modules_to_save``) rather than adapters to them.
        shapes: the shapes of the weights it stores at or below the compressor, by name.
        keys: the names of all its weights.
        weights: the file with these weights, or the weights themselves if passed in memory.
    """

    name: str
    compression: CompressionConfig | None = None
    base: str | None = None
    base_revision: str | None = None
    whole: bool = False
    shapes: Shapes = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    weights: Path | dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def needs_compressor(self) -> bool:
        """Whether it holds weights that need a compressor."""
        return self.whole or bool(self.shapes)

    def is_of_a_model_without(self, part: str) -> bool:
        """Whether it has weights, and none of them is for a part of this name."""
        return bool(self.keys) and not any(f".{part}." in key for key in self.keys)

    def check(self, compressor: Any) -> None:
        """Raise unless the stored weights fit this compressor.

        Raises:
            CompressorWeightsError: they do not fit, or there is no compressor.
        """
        if not self.needs_compressor:
            return
        if compressor is None:
            raise CompressorWeightsError(
                f"The adapter {self.name} holds weights of an audio compressor, but the model has none: there is no "
                f"{CONFIG_NAME} beside the adapter. Pass the compression it was trained under as compression=..."
            )
        inner = getattr(compressor, "original_module", compressor)
        if self.whole:
            check_fit(self.shapes, inner.state_dict(), self.name)
            return
        modules = {name for name, _ in inner.named_modules() if name}
        lost = [key for key in self.shapes if not any(key.startswith(f"{name}.") for name in modules)]
        if lost:
            check_fit(dict.fromkeys(lost, ()), {}, self.name)

    def load(self, compressor: Any) -> None:
        """Load the stored weights into this compressor."""
        values = stored_weights(self.weights) if isinstance(self.weights, Path) else self.weights
        load_weights(compressor, values, self.name)


def read_adapter(name: str | os.PathLike[str], where: Where, overruled: bool = False) -> StoredAdapter | None:
    """Read an adapter's folder or Hub repository; None if it is not an adapter.

    Args:
        name: folder or Hub id.
        where: keywords for the Hub.
        overruled: another compression takes precedence, so that an unreadable config is only a warning.

    Raises:
        CompressionConfigError: its ``compression_config.json`` is not valid.
        CompressorWeightsError: it has a compressor's weights in an unsupported format.
        OSError: there is no such repository, or the Hub cannot be reached.
    """
    config_file = fetch(name, "adapter_config.json", where)
    if config_file is None:
        return None
    values = _read_object(config_file)
    found = StoredAdapter(
        str(name),
        read_stored("adapter's", functools.partial(_compression, name, where), overruled),
        _text(values.get("base_model_name_or_path")),
        _text(values.get("revision")),
        _names_compressor(values),
    )
    file = fetch(name, "adapter_model.safetensors", where)
    if file is not None:
        found.weights = file
        found.keys, found.shapes = stored_names(file)
    elif found.whole:
        raise CompressorWeightsError(
            f"The adapter {name} holds an audio compressor's weights, but has no adapter_model.safetensors, and other "
            "formats are not read: save it with safe_serialization=True."
        )
    return found


def given_adapter(peft_config: Any, state_dict: Mapping[str, Any] | None) -> StoredAdapter:
    """The same for an adapter passed in memory, which has no stored compression."""
    values = {"modules_to_save": getattr(peft_config, "modules_to_save", None)}
    keys = {compressor_key(key): value for key, value in (state_dict or {}).items()}
    weights = {inner: value for inner, value in keys.items() if inner is not None}
    shapes = {inner: tuple(value.shape) for inner, value in weights.items()}
    return StoredAdapter("given as a state dict", whole=_names_compressor(values), shapes=shapes, weights=weights)


def _compression(name: str | os.PathLike[str], where: Where) -> CompressionConfig | None:
    try:
        file = fetch(name, CONFIG_NAME, where)
    except MissingFileError as error:
        logger.warning(
            "%s The adapter is loaded without compression; if it was trained under one, pass that as compression=...",
            error,
        )
        return None
    return None if file is None else CompressionConfig.from_pretrained(file)


def _names_compressor(values: Mapping[str, Any]) -> bool:
    names = values.get("modules_to_save")
    return isinstance(names, list | tuple | set) and any(
        isinstance(n, str) and n.split(".")[-1] == COMPRESSOR for n in names
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _read_object(file: Any) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}  # loading the adapter will report this
    return values if isinstance(values, dict) else {}
