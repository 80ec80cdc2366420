"""Fetching an optional file of a folder or Hub repository, and the keywords that locate it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError

from ..config.files import CONFIG_NAME
from ..hub.errors import MissingFileError, hub_errors
from ..hub.ids import check_token, download, is_hub_id

Where = Mapping[str, Any]
"""Keywords that locate a file on the Hub, see `WHERE`."""
WHERE = ("revision", "token", "cache_dir", "subfolder", "local_files_only")
HUB_KEYWORDS = ("token", "cache_dir", "local_files_only", "force_download")


def pick_where(*given: Mapping[str, Any]) -> dict[str, Any]:
    """The given keywords among `WHERE`; later ones win."""
    merged = {name: values[name] for values in given for name in WHERE if values.get(name) is not None}
    if "revision" in merged:
        # transformers passes one that is bound to a commit, perhaps of another repository; this is the plain name.
        merged["revision"] = str(merged["revision"])
    return merged


def hub_options(compression: Any, name: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a loading method that also apply to the compression config's repository.

    ``revision`` applies to the config only if it comes from the same repository; otherwise use
    ``"user/repo@revision"``.
    """
    options = {key: given[key] for key in HUB_KEYWORDS if given.get(key) is not None}
    if isinstance(compression, str | os.PathLike) and os.fspath(compression) == str(name):
        options |= {key: str(given[key]) for key in ("revision", "subfolder") if given.get(key)}
    return options


def fetch(name: str | os.PathLike[str], filename: str, where: Where) -> Path | None:
    """A file of a folder or Hub repository; None if it does not exist.

    Raises:
        MissingFileError: it is not cached, and the Hub must not be contacted.
        OSError: there is no such repository, or the Hub could not be reached.
    """
    if os.path.isdir(name):
        file = Path(name, where.get("subfolder") or "", filename)
        return file if file.is_file() else None
    repo = os.fspath(name)
    if not is_hub_id(repo):
        return None
    get: Callable[..., Path] = download if filename == CONFIG_NAME else _download_any
    try:
        return get(repo, filename, **where)
    except MissingFileError as error:
        if isinstance(error.__cause__, LocalEntryNotFoundError) and not _known_to_be_absent(repo, filename, where):
            raise
        return None


def _download_any(repo: str, filename: str, **where: Any) -> Path:
    token = where.get("token")
    check_token(token)
    with hub_errors(repo, where.get("revision"), filename, where.get("local_files_only", False), token):
        return Path(hf_hub_download(repo, filename, library_name="hf_tokcomp", **where))


def _known_to_be_absent(repo: str, filename: str, where: Where) -> bool:
    """Whether the cache remembers from an earlier request that there is no such file."""
    path = "/".join(part for part in (where.get("subfolder"), filename) if part)
    cached = huggingface_hub.try_to_load_from_cache(
        repo, path, cache_dir=where.get("cache_dir"), revision=where.get("revision")
    )
    return cached is huggingface_hub._CACHED_NO_EXIST
