"""The Hub: which names are repositories, what can be a token, and fetching a small file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from huggingface_hub import get_token, hf_hub_download

from ._version import __version__
from .hub_errors import hub_errors
from .plain import MAX_BYTES, too_large


def split_revision(name: str) -> tuple[str, str | None]:
    """``"user/repo@v2"`` as ``("user/repo", "v2")``; None where no revision is named."""
    repo, at, revision = name.partition("@")
    return (repo, revision) if repo and at and revision else (name, None)


def is_hub_id(name: str) -> bool:
    """Whether this could be ``user/repo`` or ``user/repo@revision``."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", split_revision(name)[0], re.ASCII) is not None


def check_token(token: object) -> None:
    """Raise where this, or else the token of the environment, cannot be one: the HTTP client would, and show it.

    Raises:
        TypeError: it is neither a string, True, False nor None.
        ValueError: it has characters that no HTTP header may have. Its value is not in the message.
    """
    if token is not None and not isinstance(token, bool | str):
        raise TypeError(f"token must be a string, True, False or None, not {type(token).__name__}.")
    sent = get_token() if token is None or token is True else token
    if isinstance(sent, str) and not re.fullmatch(r"[!-~]+", sent):
        whose = "The token given" if sent is token else "The token of HF_TOKEN or `hf auth login`"
        raise ValueError(
            f"{whose} is empty or has spaces, line ends or letters that no token has; copy it anew. (It is not shown "
            "here.)"
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
    """A small file of a repository, in the cache; nothing but a whole file ever gets there.

    Raises:
        CompressionConfigError: the file is too large to be a config; it is not downloaded.
        MissingFileError: the file is not in the repository, or not in the cache and the Hub may not be asked.
        FileNotFoundError: there is no such repository or revision.
        OSError: what else may go wrong, see `hub_errors`.
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
