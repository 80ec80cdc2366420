"""The model that is exported or served: where its files are, what they say, and its stored compression."""

from __future__ import annotations

import functools
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub import snapshot_download
from transformers import AutoConfig

from ...config.config import CompressionConfig
from ...errors import UnsupportedModelError
from ...hub.errors import MissingFileError, hub_errors
from ...hub.ids import ADAPTER_CONFIG_NAME, MODEL_CONFIG_NAME, MODEL_FILES, check_reachable, is_hub_id, split_revision
from ...hub.json_text import parse_json
from ...hub.shared_files import SENT, is_sent
from ...loading.stored_files import fetch
from ...messages import shown
from ...models.registry import find_patch
from ...sharing.pack import PROCESSOR_FILES

SAFETENSORS = "model.safetensors"
PICKLED = "pytorch_model.bin"


@dataclass(frozen=True)
class Weights:
    """The files with a model's weights, in the format that transformers prefers.

    Args:
        files: the files.
        index: the file that says which weight is where; None for a single file.
    """

    files: tuple[Path, ...]
    index: Path | None = None

    @property
    def are_safetensors(self) -> bool:
        """Whether they can be read without unpickling."""
        return self.files[0].suffix == ".safetensors"


@dataclass(frozen=True)
class Source:
    """A model that is a folder or a repository on the Hub; `open_source` makes it.

    Args:
        name: the folder, or ``user/repo``.
        revision: of the repository; None for its main branch.
        values: what is in its ``config.json``.
    """

    name: str
    revision: str | None
    values: Mapping[str, Any] = field(repr=False)

    @property
    def title(self) -> str:
        """Its name without the folders above it, or without its owner."""
        return (Path(self.name).resolve() if os.path.isdir(self.name) else Path(self.name)).name

    @property
    def where(self) -> Mapping[str, Any]:
        """Keywords that locate its files on the Hub."""
        return _where(self.revision)

    @functools.cached_property
    def config(self) -> Any:
        """Its config as transformers reads it."""
        patch = find_patch(self.values["model_type"])
        model_class = None if patch is None else getattr(transformers, patch.model_classes[0], None)
        # In a process where vLLM runs, `AutoConfig` may give a class of vLLM's.
        config_class = AutoConfig if model_class is None else model_class.config_class
        return config_class.from_pretrained(self.name, **self.where)

    @functools.cached_property
    def stored(self) -> CompressionConfig | None:
        """The compression stored with it, in ``compression_config.json`` or ``config.json``; None without one."""
        try:
            return CompressionConfig.from_pretrained(self.name, revision=self.revision)
        except MissingFileError:
            return None

    def files(self) -> Path:
        """The folder with all of its files, downloaded if need be."""
        if os.path.isdir(self.name):
            return Path(self.name)
        with hub_errors(self.name, self.revision):
            # The same weights in the format of another program, and adapters in folders below, are not needed.
            folder = Path(
                snapshot_download(
                    self.name,
                    revision=self.revision,
                    allow_patterns=list(SENT),
                    ignore_patterns=["*/*", "consolidated*"],
                )
            )
            if not any(folder.glob("*.safetensors")):
                pickled = ["pytorch_model*.bin", f"{PICKLED}.index.json"]
                snapshot_download(self.name, revision=self.revision, allow_patterns=pickled)
        return folder


def open_source(model: str | os.PathLike[str]) -> Source:
    """Find a model; nothing but small files is downloaded.

    Args:
        model: a folder or a Hub id, ``user/repo`` or ``user/repo@revision``.

    Raises:
        FileNotFoundError: there is no such folder or repository, or no model in it.
        UnsupportedModelError: it is an adapter.
        ValueError: its ``config.json`` is not that of a model.
        OSError: the Hub cannot be reached.
    """
    name, revision = os.path.expanduser(os.fspath(model)), None
    if not os.path.isdir(name):
        if not is_hub_id(name):
            raise FileNotFoundError(f"There is no model folder {shown(name)}, and it is not a Hub id (user/repo).")
        name, revision = split_revision(name)
        check_reachable(name, MODEL_FILES)
    adapter = fetch(name, ADAPTER_CONFIG_NAME, _where(revision))
    if adapter is not None:
        _refuse_adapter(name, adapter)
    file = fetch(name, MODEL_CONFIG_NAME, _where(revision))
    if file is None:
        raise FileNotFoundError(f"{name} has no {MODEL_CONFIG_NAME}: it is not a model saved by transformers.")
    values = parse_json(file.read_bytes(), str(file), strict=False)
    if not isinstance(values, dict) or "model_type" not in values:
        raise ValueError(f"{file} names no model_type: it is not a model saved by transformers.")
    return Source(name, revision, values)


def _where(revision: str | None) -> dict[str, Any]:
    return {} if revision is None else {"revision": revision}


def _refuse_adapter(name: str, file: Path) -> None:
    """Say what can be done with an adapter."""
    values = parse_json(file.read_bytes(), str(file), strict=False)
    base = values.get("base_model_name_or_path") if isinstance(values, dict) else None
    raise UnsupportedModelError(
        f"{name} is an adapter, not a whole model. Serve its base model {base or 'BASE'} and hand the adapter to vLLM "
        f"(--enable-lora --lora-modules {shlex.quote(f'adapter={name}')}), or merge it first: "
        f"hf_tokcomp.load_adapter({name!r}).merge_and_unload().save_pretrained(FOLDER), and the processor beside it."
    )


def weights_in(folder: Path) -> Weights:
    """The files with the weights in a folder.

    Raises:
        FileNotFoundError: there are none, or not all that the index names.
    """
    for name in (SAFETENSORS, PICKLED):
        if (folder / name).is_file():
            return Weights((folder / name,))
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            missing = [shard for shard in shards if not (folder / shard).is_file()]
            if missing:
                raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}, which {index.name} names.")
            return Weights(tuple(folder / shard for shard in shards), index)
    raise FileNotFoundError(f"{folder} has no weights: neither {SAFETENSORS} nor {PICKLED}, whole or in shards.")


def files_beside(folder: Path) -> list[Path]:
    """The other files of a model that are needed to use it: tokenizer, processor, templates, texts.

    Raises:
        FileNotFoundError: it has no processor, without which vLLM does not start.
    """
    found = [file for file in sorted(folder.iterdir()) if file.is_file() and is_sent(file.name)]
    if PROCESSOR_FILES.isdisjoint(file.name for file in found):
        raise FileNotFoundError(
            f"{folder} has no processor, which vLLM needs: save it there with processor.save_pretrained(...)."
        )
    return [file for file in found if file.suffix != ".safetensors" and not file.name.endswith(".index.json")]
