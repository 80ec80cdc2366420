"""Package: the files of a repository, put together from a folder and a compression, and checked before any is sent."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cards import CARD_NAME, is_written, make_card, read_card, read_measurements
from .cards.card import Kind
from .cards.names import check_repo_id, hub_id
from .config import CompressionConfig
from .config_files import CONFIG_KEY, CONFIG_NAME, is_ours
from .config_files import MODEL_CONFIG_NAME as MODEL_CONFIG
from .errors import CompressionConfigError, UnsupportedModelError
from .hub import split_revision
from .models import how_to_add, supported_models
from .patching import Compression, resolve_compression
from .plain import parse_json

logger = logging.getLogger(__name__)

ADAPTER_CONFIG = "adapter_config.json"
PROCESSOR_FILES = {"processor_config.json", "preprocessor_config.json"}
NOUNS: dict[Kind, str] = {"config": "compression config", "model": "compressed model", "adapter": "compressed adapter"}


@dataclass(frozen=True, kw_only=True)
class Package:
    """What goes into a repository.

    Args:
        repo_id: the repository, as the user named it.
        kind: what it holds.
        config: the compression.
        files: path in the repository to a file here or its content, without the card.
        left_out: what is in the folder and stays here.
        fields: what the card says beyond this, for `CompressionCard`.
        folder_card: the folder's own card; None if it has none.
    """

    repo_id: str
    kind: Kind
    config: CompressionConfig
    files: Mapping[str, Path | bytes]
    left_out: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    folder_card: str | None = None

    @property
    def noun(self) -> str:
        return NOUNS[self.kind]

    @property
    def written(self) -> bool:
        """Whether the folder has a card that somebody wrote."""
        return self.folder_card is not None and is_written(self.folder_card)

    def card(
        self,
        repo_id: str | None = None,
        old: str | None = None,
        overwrite: bool = False,
        revision: str | None = None,
    ) -> str:
        """The card to send: the folder's if somebody wrote it, else ours.

        Args:
            repo_id: the repository with its owner, where the Hub has said who that is.
            old: the repository's card, which ours takes the place of.
            overwrite: ours in any case.
            revision: the branch that it is sent to; None for the main one.
        """
        if self.folder_card is not None and self.written and not overwrite:
            return self.folder_card
        old = self.folder_card if old is None else old
        return make_card(self.config, repo_id or self.repo_id, old, kind=self.kind, revision=revision, **self.fields)

    def sizes(self) -> dict[str, int]:
        """Bytes of every file, without the card, by its path."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.files.items()
        }


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
    """Put a repository together, without any network but for a ``compression`` that is itself on the Hub.

    Args:
        repo_id: the repository.
        compression: the compression; None for the one in the folder.
        folder: a saved model, an adapter or a config; None for a repository with the config alone.
        base_model: Hub id of the model it is for or comes from, perhaps ``USER/NAME@REVISION``; None for what an
            adapter says itself.
        base_revision: its revision.
        came_from: the base model where neither the user nor the folder names one.
        came_from_revision: its revision.
        metrics: a file of numbers for the card.
        dataset: what they were measured on, where the file does not say.
        license: the Hub's name of a licence.
        tags: more tags for the card.
        local_base: a warning and no error where an adapter names its base model by a folder of this machine.

    Raises:
        ValueError: a name is impossible, or the folder contradicts what is asked.
        FileNotFoundError: there is no such folder, or nothing of use in it.
        UnsupportedModelError: it is a model that cannot be compressed.
    """
    check_repo_id(repo_id)
    if base_model is not None:
        base_model, named = split_revision(base_model)
        base_revision = base_revision or named
    if base_model is not None and hub_id(base_model) is None:
        raise ValueError(
            f"The base model {base_model!r} is no name on the Hub: others have only those. Write USER/NAME."
        )
    if base_revision is not None and base_model is None and folder is None:
        raise ValueError(f"The revision {base_revision!r} is of which base model? Name that, too.")
    if dataset is not None and metrics is None:
        raise ValueError(f"What was measured on {dataset!r}? Give a file of metrics, too.")
    config = None if compression is None else resolve_compression(compression)
    files: dict[str, Path | bytes] = {}
    left_out: list[str] = []
    if folder is not None:
        files, left_out = _files(Path(folder))
    readme = files.pop(CARD_NAME, None)
    base = {"base_model": base_model, "base_revision": base_revision}
    kind: Kind = "config"
    model_type = None
    if ADAPTER_CONFIG in files:
        kind = "adapter"
        _require_weights(files, "adapter_model", folder)
        config = _one_config(config, _config_beside(files), CONFIG_NAME)
        base, content = _adapter_base(_read_json(files[ADAPTER_CONFIG]), base_model, base_revision, local_base)
        if content is not None:
            files[ADAPTER_CONFIG] = content
        files[CONFIG_NAME] = config.to_json_string().encode()
    elif MODEL_CONFIG in files:
        kind = "model"
        _require_weights(files, "", folder)
        values = _read_json(files[MODEL_CONFIG])
        model_type = values.get("model_type")
        if model_type not in supported_models():
            raise UnsupportedModelError(f"{folder} has a model of type {model_type!r}. {how_to_add()}")
        stored: Any = values.get(CONFIG_KEY)
        config = _one_config(config, CompressionConfig.from_dict(stored) if is_ours(stored) else None, MODEL_CONFIG)
        if not is_ours(stored):
            files[MODEL_CONFIG] = _json_bytes(values | {CONFIG_KEY: config.to_dict()})
        if base_model is None and hub_id(came_from) is not None:
            base = {"base_model": came_from, "base_revision": base_revision or came_from_revision}
    else:
        beside = _config_beside(files)
        if folder is not None and beside is None:
            raise FileNotFoundError(
                f"{folder} has no {MODEL_CONFIG}, {ADAPTER_CONFIG} or {CONFIG_NAME}: it is no model, adapter or config."
            )
        config = _one_config(config, beside, CONFIG_NAME)
        files[CONFIG_NAME] = config.to_json_string().encode()
    fields: dict[str, Any] = {
        **base,
        "model_type": model_type,
        "has_processor": not PROCESSOR_FILES.isdisjoint(files),
        "license": license,
        "tags": tuple(tags),
    }
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
    package.card()  # what is wrong with it should show before a repository is made
    return package


def _files(folder: Path) -> tuple[dict[str, Path | bytes], list[str]]:
    """A folder's files by their path in it, and what is not sent: hidden things, caches and training checkpoints."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    files: dict[str, Path | bytes] = {}
    left_out: list[str] = []
    for where, folders, names in os.walk(folder):
        inside = Path(where).relative_to(folder)
        skipped = sorted(name for name in folders if name.startswith((".", "checkpoint-")) or name == "__pycache__")
        left_out += [f"{(inside / name).as_posix()}/" for name in skipped]
        folders[:] = sorted(set(folders) - set(skipped))
        for name in sorted(names):
            path = (inside / name).as_posix()
            if name.startswith("."):
                left_out.append(path)
            elif not (folder / path).is_file():
                raise FileNotFoundError(f"{folder / path} is no file that can be read.")
            else:
                files[path] = folder / path
    return files, left_out


def _read_json(file: Path | bytes) -> dict[str, Any]:
    text, where = (file, "It") if isinstance(file, bytes) else (file.read_bytes(), str(file))
    values = parse_json(text, where, strict=False)
    if not isinstance(values, dict):
        raise ValueError(f"{where} is not a JSON object.")
    return values


def _json_bytes(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _config_beside(files: Mapping[str, Path | bytes]) -> CompressionConfig | None:
    file = files.get(CONFIG_NAME)
    return CompressionConfig.from_pretrained(file) if isinstance(file, Path) else None


def _one_config(given: CompressionConfig | None, stored: CompressionConfig | None, where: str) -> CompressionConfig:
    if given is None and stored is None:
        raise CompressionConfigError("There is no compression to share: name one, a method or a folder with a config.")
    if given is not None and stored is not None and given != stored:
        raise CompressionConfigError(
            f"The folder's {where} asks for {stored.to_dict()}, and not for {given.to_dict()}: leave the compression "
            "out, or save the folder under the other one."
        )
    config = stored if given is None else given
    if config is None:
        raise AssertionError("one of the two is there")
    return config


def _require_weights(files: Mapping[str, Any], name: str, folder: Any) -> None:
    if not any(Path(file).suffix in (".safetensors", ".bin") and Path(file).name.startswith(name) for file in files):
        raise FileNotFoundError(f"{folder} has no weights: save the {'adapter' if name else 'model'} there first.")


def _adapter_base(
    values: dict[str, Any], base_model: str | None, base_revision: str | None, local_base: bool
) -> tuple[dict[str, str | None], bytes | None]:
    """An adapter's base model and revision, and its file where that must say something else than it does."""
    named = values.get("base_model_name_or_path")
    known = hub_id(named)
    if known is None and base_model is None:
        message = (
            f"The adapter's base model is {named!r}, which others do not have: name one on the Hub, base_model=..."
        )
        if not local_base:
            raise ValueError(message)
        logger.warning(message)
        return {"base_model": None, "base_revision": None}, None
    if known is not None and base_model is not None and known != base_model:
        raise ValueError(f"The adapter was trained on {known}, and not on {base_model}.")
    revision = base_revision or values.get("revision")
    base = {"base_model": base_model or known, "base_revision": revision}
    if known is not None and revision == values.get("revision"):
        return base, None
    return base, _json_bytes(values | {"base_model_name_or_path": base["base_model"], "revision": revision})
