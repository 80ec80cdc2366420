"""Assembling a package from a folder and a compression, and checking it before a repository is created."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache

from ..cards import read_card, read_measurements
from ..cards.card import Kind
from ..cards.names import check_repo_id, hub_id
from ..config.config import CompressionConfig
from ..config.files import CONFIG_KEY, CONFIG_NAME, is_ours
from ..config.notation import Compression, resolve_compression
from ..errors import UnsupportedModelError
from ..hub.ids import ADAPTER_CONFIG_NAME as ADAPTER_CONFIG
from ..hub.ids import CARD_NAME, split_revision
from ..hub.ids import MODEL_CONFIG_NAME as MODEL_CONFIG
from ..hub.prompt_file import PROMPT_NAME, parse_prompt
from ..models.registry import find_patch, how_to_add, supported_models
from .package import Package
from .packed_folder import (
    Base,
    Files,
    adapter_base,
    clean_settings,
    config_beside,
    json_bytes,
    list_files,
    one_config,
    read_json,
    require_weights,
)

PROCESSOR_CONFIG = "processor_config.json"
PROCESSOR_FILES = {PROCESSOR_CONFIG, "preprocessor_config.json"}


def pack(
    repo_id: str,
    *,
    compression: Compression | None = None,
    folder: str | os.PathLike[str] | None = None,
    base_model: str | None = None,
    base_revision: str | None = None,
    came_from: str | None = None,
    came_from_revision: str | None = None,
    metrics: str | os.PathLike[str] | None = None,
    dataset: str | None = None,
    license: str | None = None,
    tags: Sequence[str] = (),
    local_base: bool = False,
) -> Package:
    """Assemble a repository, without network access except for a ``compression`` that is itself on the Hub.

    Args:
        repo_id: the repository.
        compression: the compression; None for the one in the folder.
        folder: a saved model, an adapter or a config; None for a repository with only the config.
        base_model: Hub id of the model it is for or derived from, optionally ``USER/NAME@REVISION``; None for the one
            an adapter names itself.
        base_revision: the revision of the base model.
        came_from: the base model if neither the user nor the folder names one.
        came_from_revision: the revision of that model.
        metrics: a file with numbers for the card.
        dataset: the data set they were measured on, if the file does not say.
        license: the Hub's identifier of a licence.
        tags: additional tags for the card.
        local_base: warn instead of raising if the base model of an adapter is a local folder.

    Raises:
        ValueError: a name is invalid, or the folder contradicts the arguments.
        FileNotFoundError: the folder does not exist or contains nothing to share.
        UnsupportedModelError: the model cannot be compressed.
    """
    check_repo_id(repo_id)
    if base_model is not None:
        base_model, named = split_revision(base_model)
        base_revision = base_revision or named
    if base_model is not None and hub_id(base_model) is None:
        raise ValueError(f"The base model {base_model!r} is not a Hub id, so others cannot load it. Write USER/NAME.")
    if base_revision is not None and base_model is None and folder is None:
        raise ValueError(f"The revision {base_revision!r} was given without a base model; name the base model, too.")
    if dataset is not None and metrics is None:
        raise ValueError(f"A data set, {dataset!r}, was given without metrics; pass a file of metrics, too.")
    config = None if compression is None else resolve_compression(compression)
    files: Files = {}
    left_out: list[str] = []
    if folder is not None:
        files, left_out = list_files(Path(folder))
    readme = files.pop(CARD_NAME, None)
    base: Base = {"base_model": base_model, "base_revision": base_revision}
    kind: Kind = "config"
    model_type = None
    if ADAPTER_CONFIG in files:
        kind = "adapter"
        require_weights(files, "adapter_model", folder)
        config = _beside(files, config)
        for name in [name for name in files if name.rsplit("/", 1)[-1] == ADAPTER_CONFIG]:  # PEFT's other adapters too
            found, content = adapter_base(read_json(files[name]), base_model, base_revision, local_base)
            base = found if name == ADAPTER_CONFIG else base
            if content is not None:
                files[name] = content
    elif MODEL_CONFIG in files:
        kind = "model"
        require_weights(files, "", folder)
        config, model_type = _inside(files, config, folder)
        if base_model is None and hub_id(came_from) is not None:
            base = {"base_model": came_from, "base_revision": base_revision or came_from_revision}
    elif folder is not None and CONFIG_NAME not in files:
        raise FileNotFoundError(
            f"{folder} has no {MODEL_CONFIG}, {ADAPTER_CONFIG} or {CONFIG_NAME}: it is not a model, adapter or config."
        )
    else:
        config = _beside(files, config)
    model_type = model_type or _type_of_base(files, **base)
    clean_settings(files)
    fields: dict[str, Any] = {
        **base,
        "model_type": model_type,
        "has_processor": not PROCESSOR_FILES.isdisjoint(files),
        "license": license,
        "tags": tuple(tags),
    }
    stored = files.get(PROMPT_NAME)
    if isinstance(stored, Path):
        fields["prompt"] = parse_prompt(stored.read_bytes(), str(stored)).text
    if metrics is not None:
        models = [name for name in (base["base_model"], repo_id) if name] if base["base_model"] else []
        fields["measurements"] = read_measurements(metrics, config, dataset, models)
    package = Package(
        repo_id=repo_id,
        kind=kind,
        config=config,
        files=dict(sorted(files.items())),
        left_out=tuple(left_out),
        fields=fields,
        folder_card=read_card(readme) if isinstance(readme, Path) else None,
    )
    package.card(overwrite=True)  # its errors should appear before a repository is created
    return package


def pack_config(config: CompressionConfig, repo_id: str, subfolder: str | None = None) -> Package:
    """Only a config. In a subfolder it has no card, since a card describes the whole repository."""
    name = f"{subfolder}/{CONFIG_NAME}" if subfolder else CONFIG_NAME
    content = config.to_json_string().encode()
    return Package(
        repo_id=check_repo_id(repo_id), kind="config", config=config, files={name: content}, has_card=not subfolder
    )


def _beside(files: Files, given: CompressionConfig | None) -> CompressionConfig:
    """The config of a folder that keeps it in a separate file, which is rewritten in `files`."""
    config = one_config(given, config_beside(files), CONFIG_NAME)
    files[CONFIG_NAME] = config.to_json_string().encode()
    return config


def _type_of_base(files: Files, base_model: str | None, base_revision: str | None) -> str | None:
    """The model type of the base model: by its own config if that is in the cache here, else by the processor."""
    cached = None
    if base_model is not None:
        cached = try_to_load_from_cache(base_model, MODEL_CONFIG, revision=base_revision)
    if isinstance(cached, str):
        return str(read_json(Path(cached)).get("model_type"))
    if PROCESSOR_CONFIG not in files:
        return None
    name = read_json(files[PROCESSOR_CONFIG]).get("processor_class")
    return next((kind for kind, patch in supported_models().items() if patch.processor_class == name), None)


def _inside(files: Files, given: CompressionConfig | None, folder: Any) -> tuple[CompressionConfig, str]:
    """The config of a model, stored in its ``config.json``, and the model type."""
    values = read_json(files[MODEL_CONFIG])
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or find_patch(model_type) is None:
        raise UnsupportedModelError(f"{folder} has a model of type {model_type!r}. {how_to_add(values)}")
    stored: Any = values.get(CONFIG_KEY)
    config = one_config(given, CompressionConfig.from_dict(stored) if is_ours(stored) else None, MODEL_CONFIG)
    if not is_ours(stored):
        files[MODEL_CONFIG] = json_bytes(values | {CONFIG_KEY: config.to_dict()})
    if CONFIG_NAME in files:  # read when the repository is given as a compression
        _beside(files, config)
    return config, model_type
