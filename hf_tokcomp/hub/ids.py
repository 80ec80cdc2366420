"""The Hub: valid repository names and tokens, and downloading a small file."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, get_token, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HFValidationError
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from .._version import __version__
from .errors import hub_errors, not_reached, unanswered
from .json_text import MAX_BYTES, too_large

logger = logging.getLogger(__name__)

MODEL_CONFIG_NAME = "config.json"
ADAPTER_CONFIG_NAME = "adapter_config.json"
CARD_NAME = "README.md"
MODEL_FILES = (MODEL_CONFIG_NAME, ADAPTER_CONFIG_NAME)
"""A model's repository has one of these."""


def split_revision(name: str) -> tuple[str, str | None]:
    """``"user/repo@v2"`` as ``("user/repo", "v2")``; None where no revision is named."""
    repo, at, revision = name.partition("@")
    return (repo, revision) if repo and at and revision else (name, None)


def is_hub_id(name: str) -> bool:
    """Whether this could be ``user/repo`` or ``user/repo@revision``."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", split_revision(name)[0], re.ASCII) is not None


def check_token(token: object) -> None:
    """Raise if this token, or the environment's, is malformed: the HTTP client would raise, too, and show it.

    Raises:
        TypeError: it is neither a string, True, False nor None.
        ValueError: it has characters that are not allowed in an HTTP header. The message does not contain it.
    """
    if token is not None and not isinstance(token, bool | str):
        raise TypeError(f"token must be a string, True, False or None, not {type(token).__name__}.")
    sent = get_token() if token is None or token is True else token
    if isinstance(sent, str) and not re.fullmatch(r"[!-~]+", sent):
        whose = "The token given" if sent is token else "The token of HF_TOKEN or `hf auth login`"
        raise ValueError(
            f"{whose} is empty, or has spaces, line breaks or other characters that no token has; copy "
            "it again. (It is not shown here.)"
        )


def check_reachable(name: str, filenames: Sequence[str]) -> None:
    """Raise at once if a name is neither local nor cached and the Hub cannot be reached.

    huggingface_hub and transformers would retry first, for half a minute per file. The Hub is not contacted for a
    folder or for an invalid name, and its answer is left to the actual download. If the cache has one of the files and
    the Hub cannot be reached, a warning says that the cache is used.

    Args:
        name: a folder or a repository.
        filenames: files, one of which every such repository has.

    Raises:
        FileNotFoundError: ``HF_HUB_OFFLINE`` is set, and the cache has none of the files.
        ConnectionError: the Hub cannot be reached, and the cache has none of the files.
    """
    repo = split_revision(name)[0]
    try:
        validate_repo_id(repo)
    except HFValidationError:
        return
    if os.path.exists(name):
        return
    cache = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type="model"))
    cached = any(file.is_file() for each in filenames for file in cache.glob(f"snapshots/*/{each}"))
    if constants.is_offline_mode():
        if not cached:
            raise FileNotFoundError(not_reached(name))
        return
    check_token(None)
    try:
        get_hf_file_metadata(hf_hub_url(repo, filenames[0]), library_name="hf_tokcomp", library_version=__version__)
    except Exception as error:
        if not unanswered(error):
            return
        if not cached:
            raise ConnectionError(not_reached(name, error)) from error
        logger.warning(
            "The Hub cannot be reached, and is queried for every file of %s before the cache is used; "
            "HF_HUB_OFFLINE=1 saves those minutes.",
            name,
        )


def download(
    repo: str,
    filename: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    subfolder: str | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """Download a small file into the cache, completely or not at all, and return its path.

    Raises:
        CompressionConfigError: the file is too large to be a config; it is not downloaded.
        MissingFileError: the file is not in the repository, or not cached while the Hub must not be contacted.
        FileNotFoundError: there is no such repository or revision.
        OSError: any other error, see `hub_errors`.
    """
    check_token(token)
    path = f"{subfolder}/{filename}" if subfolder else filename
    with hub_errors(repo, revision, path, local_files_only, token):

        def ask(dry_run: bool) -> object:
            return hf_hub_download(
                repo,
                filename,
                subfolder=subfolder,
                revision=revision,
                token=token,
                cache_dir=None if cache_dir is None else Path(cache_dir),
                local_files_only=local_files_only,
                force_download=force_download,
                library_name="hf_tokcomp",
                library_version=__version__,
                dry_run=dry_run,
            )

        size = getattr(ask(dry_run=True), "file_size", None)
        if size is not None and size > MAX_BYTES:
            raise too_large(f"{path} of {repo}", size)
        return Path(str(ask(dry_run=False)))
