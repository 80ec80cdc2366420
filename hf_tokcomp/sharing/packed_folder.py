"""The folder to share: its files, and what they say about the compression and the base model."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cards.names import hub_id
from ..config.config import CompressionConfig
from ..config.files import CONFIG_NAME
from ..errors import CompressionConfigError
from ..hub.json_text import parse_json
from ..hub.shared_files import check_local, has_settings, is_sent, without_history

logger = logging.getLogger(__name__)

Files = dict[str, Path | bytes]
"""Local files or their content, by path in the repository."""
Base = dict[str, str | None]
"""``base_model`` and ``base_revision``, as arguments of a card."""


def list_files(folder: Path) -> tuple[Files, list[str]]:
    """The files of a folder by relative path, and those that are not uploaded.

    The latter are hidden files, caches, training checkpoints, and every file whose name is not in `shared_files`.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    files: Files = {}
    left_out: list[str] = []
    for where, folders, names in os.walk(folder):
        inside = Path(where).relative_to(folder)
        skipped = sorted(name for name in folders if name.startswith((".", "checkpoint-")) or name == "__pycache__")
        left_out += [f"{(inside / name).as_posix()}/" for name in skipped]
        folders[:] = sorted(set(folders) - set(skipped))
        for name in sorted(names):
            path = (inside / name).as_posix()
            if name.startswith(".") or not is_sent(name):
                left_out.append(path)
            elif not (folder / path).is_file():
                raise FileNotFoundError(f"{folder / path} is not a readable file.")
            else:
                files[path] = folder / path
    return files, left_out


def clean_settings(files: Files) -> None:
    """Remove purely informative local paths from the settings in the files.

    Raises:
        ValueError: the settings name a local folder or file that is needed.
    """
    for name, file in files.items():
        if has_settings(name.rsplit("/", 1)[-1]):
            values = read_json(file)
            clean = without_history(values)
            check_local(name, clean, "take it out of the file.")
            if clean != values:
                files[name] = json_bytes(clean)


def read_json(file: Path | bytes) -> dict[str, Any]:
    """Read a JSON file that contains an object."""
    text, where = (file, "It") if isinstance(file, bytes) else (file.read_bytes(), str(file))
    values = parse_json(text, where, strict=False)
    if not isinstance(values, dict):
        raise ValueError(f"{where} is not a JSON object.")
    return values


def json_bytes(values: Mapping[str, Any]) -> bytes:
    """An object as the content of a JSON file, formatted as transformers does."""
    return (json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def config_beside(files: Mapping[str, Path | bytes]) -> CompressionConfig | None:
    """The config in the folder's ``compression_config.json``; None if there is none."""
    file = files.get(CONFIG_NAME)
    return CompressionConfig.from_pretrained(file) if isinstance(file, Path) else None


def one_config(given: CompressionConfig | None, stored: CompressionConfig | None, where: str) -> CompressionConfig:
    """The given config, or else the folder's; they must not differ."""
    config = stored if given is None else given
    if config is None:
        raise CompressionConfigError("There is no compression to share; name one: a method or a folder with a config.")
    if stored is not None and stored != config:
        raise CompressionConfigError(
            f"The folder's {where} has {stored.to_dict()}, not {config.to_dict()}: leave the compression "
            "out, or save the folder under the other one."
        )
    return config


def require_weights(files: Mapping[str, Any], name: str, folder: Any) -> None:
    """Raise if there is no safetensors file whose name starts with `name`."""
    if not any(Path(file).suffix == ".safetensors" and Path(file).name.startswith(name) for file in files):
        raise FileNotFoundError(
            f"{folder} has no weights: save the {'adapter' if name else 'model'} there first, as safetensors; pickled "
            "weights are not shared."
        )


def adapter_base(
    values: dict[str, Any], base_model: str | None, base_revision: str | None, local_base: bool
) -> tuple[Base, bytes | None]:
    """The base model and revision of an adapter, and its config file if that must be changed."""
    named = values.get("base_model_name_or_path")
    known = hub_id(named)
    if known is None and base_model is None:
        message = (
            f"The adapter's base model is {named!r}, which others do not have: name one on the Hub, "
            "base_model=... (--base-model)."
        )
        if not local_base:
            raise ValueError(message)
        logger.warning("%s It is shared without the name of its base model.", message)
        return {"base_model": None, "base_revision": None}, json_bytes(values | {"base_model_name_or_path": None})
    if known is not None and base_model is not None and known != base_model:
        raise ValueError(f"The adapter was trained on {known}, and not on {base_model}.")
    revision = base_revision or values.get("revision")
    base = {"base_model": base_model or known, "base_revision": revision}
    if known is not None and revision == values.get("revision"):
        return base, None
    return base, json_bytes(values | {"base_model_name_or_path": base["base_model"], "revision": revision})
