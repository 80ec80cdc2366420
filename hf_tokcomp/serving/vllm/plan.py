"""What it takes to serve a model under a compression: checked, and as settings, with neither vLLM nor weights."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from ...config.config import CompressionConfig
from ...config.files import CONFIG_KEY
from ...config.notation import Compression, resolve_compression
from ...config.registry import get_method
from ...errors import CompressionConfigError, CompressorWeightsError
from ...loading.weights import check_fit, checkpoint_weights
from ...models.registry import find_patch
from ...models.versions import verdict
from ...patching.patch import patch
from .heads import doubled_settings, doubler, doublings
from .rewriting import Rewriting
from .served import COMPRESSION_KEY, SECTIONS, architecture_of, check_servable, sections_of
from .source import Source, open_source

Settings = Mapping[str, Any]
"""Entries of a config.json, nested; None for one that is removed."""


@dataclass(frozen=True)
class Plan:
    """A model and the compression it is served under; `make_plan` checks that they can be.

    Args:
        source: the model.
        config: the compression.
        times: how often its attention heads are doubled.
    """

    source: Source
    config: CompressionConfig
    times: int

    @property
    def rewriting(self) -> Rewriting:
        """What happens to the weights."""
        change = doubler(self._text, self.times) if self.times else None
        return Rewriting(change, with_compressor=get_method(self.config.method).learns)

    @property
    def must_be_exported(self) -> bool:
        """Whether vLLM cannot serve the model's own files."""
        stored = self.source.stored
        others = stored is not None and get_method(stored.method).learns and not stored.has_weights_of(self.config)
        return others or self.times > 0

    @functools.cached_property
    def settings(self) -> Settings:
        """What vLLM must find in the model's config, other than it is."""
        text: dict[str, Any] = doubled_settings(self._text, self.times) if self.times else {}
        if self.config.positions == "original":
            rope = text.get("rope_parameters", self._text.rope_parameters)
            text["rope_parameters"] = {**rope, SECTIONS: [pairs << self.times for pairs in sections_of(self._text)]}
        settings: dict[str, Any] = text
        for name in reversed(_path_to(self.source.config, self._text)):
            settings = {name: settings} if settings else {}
        settings |= {
            "architectures": [architecture_of(self.source.config.model_type)],
            COMPRESSION_KEY: self.config.to_dict(),
        }
        # vLLM would take a compression under our own key for a quantisation.
        return settings | ({CONFIG_KEY: None} if CONFIG_KEY in self.source.values else {})

    @property
    def overrides(self) -> Settings:
        """The settings for ``--hf-overrides``; empty where the model's config has them already."""
        values = self.source.values
        return {} if merged(values, self.settings) == values else self.settings

    def file_values(self) -> dict[str, Any]:
        """The content of the exported ``config.json``."""
        quiet: dict[str, Any] = {}
        if self.config.positions == "original":
            # Or transformers would warn of a key that it does not know.
            quiet["ignore_keys_at_rope_validation"] = [SECTIONS]
        if self.times:
            quiet["rope_theta"] = None  # where older configs have it
        for name in reversed(_path_to(self.source.config, self._text)):
            quiet = {name: quiet}
        return merged(merged(self.source.values, self.settings), quiet)

    @property
    def _text(self) -> Any:
        return self.source.config.get_text_config()


def make_plan(model: str | os.PathLike[str] | Source, compression: Compression | None = None) -> Plan:
    """Check that a model can be served in vLLM under a compression.

    Args:
        model: a folder or Hub id.
        compression: what `patch` takes; None for the one stored with the model.

    Raises:
        CompressionConfigError: there is no compression, or it is invalid, or cannot be served.
        UnsupportedModelError: the model cannot be served, or is an adapter.
        CompressorWeightsError: the compressor learns, and the model has no weights for it.
        OSError: there is no such model, or the Hub cannot be reached.
    """
    source = model if isinstance(model, Source) else open_source(model)
    config = source.stored if compression is None else resolve_compression(compression)
    if config is None:
        raise CompressionConfigError(
            f"{source.name} stores no compression: name one, compression=... (--compression), such as 'ltbm'."
        )
    architecture_of(source.config.model_type)
    check_servable(config)
    text = source.config.get_text_config()
    if config.positions == "original":
        sections_of(text)
    _check_patched(source, config)
    return Plan(source, config, doublings(text))


def _check_patched(source: Source, config: CompressionConfig) -> None:
    """Raise if the model in transformers could not be patched so, or has no weights for the compressor."""
    model_patch = find_patch(source.config.model_type)
    if model_patch is None:
        return  # `architecture_of` has refused it
    learns, too_old = get_method(config.method).learns, verdict(model_patch)
    if too_old is not None:
        # vLLM's transformers may be too old to patch a model that vLLM's own class serves, such as Qwen2.5-Omni's. What
        # is wrong with it is said when the engine starts.
        if learns:
            raise CompressorWeightsError(f"The weights of {source.name}'s compressor cannot be checked: {too_old}")
        return
    model_class = getattr(transformers, model_patch.model_classes[0])
    with torch.device("meta"):  # the model without its weights
        model = model_class(source.config)
    compressor = patch(model, config).audio_compressor
    if not learns:
        return
    stored = checkpoint_weights(source.name, source.where)
    if not stored:
        raise CompressorWeightsError(
            f"{source.name} has no weights of a {config.method!r} compressor, so it would be served untrained. Train "
            "it (docs/training.md), save the model with save_pretrained, and name that folder."
        )
    check_fit(stored, compressor.state_dict(), source.name)


def merged(values: Mapping[str, Any], changes: Settings) -> dict[str, Any]:
    """A config with changes; a mapping is merged, and None removes an entry."""
    found = {name: value for name, value in values.items() if name not in changes}
    for name, change in changes.items():
        old = values.get(name)
        if isinstance(change, Mapping) and name != COMPRESSION_KEY:
            found[name] = merged(old if isinstance(old, Mapping) else {}, change)
        elif change is not None:
            found[name] = change
    return found


def _path_to(whole: Any, part: Any) -> tuple[str, ...]:
    """The names that lead from a config to one that it contains."""
    if whole is part:
        return ()
    for name in type(whole).sub_configs:
        inner = getattr(whole, name, None)
        if inner is part:
            return (name,)
        below = _path_to(inner, part) if hasattr(type(inner), "sub_configs") else ()
        if below:
            return (name, *below)
    return ()
