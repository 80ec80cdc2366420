"""The Hub: which names are repositories, fetching a small file from one, and what went wrong in plain words."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ._version import __version__
from .plain import MAX_BYTES, shown, too_large

# What breaks below HTTP, whichever client (httpx, httpx2) this version of huggingface_hub is built on.
TRANSPORT_ERRORS: tuple[type[Exception], ...] = tuple(
    c for c in HfHubHTTPError.__mro__ if issubclass(c, Exception) and c.__module__.startswith("httpx")
)
LOG_IN = "Log in with `hf auth login`, or pass token=..."


class MissingFileError(FileNotFoundError):
    """The repository is there, or could not be asked, and the file is not."""


def split_revision(name: str) -> tuple[str, str | None]:
    """``"user/repo@v2"`` as ``("user/repo", "v2")``; None where no revision is named."""
    repo, at, revision = name.partition("@")
    return (repo, revision) if at and revision else (name, None)


def is_hub_id(name: str) -> bool:
    """Whether this could be ``user/repo`` or ``user/repo@revision``."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", split_revision(name)[0], re.ASCII) is not None


def check_token(token: object) -> None:
    """Raise where this cannot be a token. Its value is in no message, as it would be in the HTTP client's.

    Raises:
        TypeError: it is neither a string, True, False nor None.
        ValueError: it has characters that no HTTP header may have.
    """
    if token is not None and not isinstance(token, bool | str):
        raise TypeError(f"token must be a string, True, False or None, not {type(token).__name__}.")
    if isinstance(token, str) and not re.fullmatch(r"[!-~]+", token):
        raise ValueError(
            "The token given is empty or has spaces, line ends or letters that no token has; copy it anew. (It is not "
            "shown here.)"
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
    with hub_errors(repo, revision, path, local_files_only):

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


@contextmanager
def hub_errors(
    repo: str, revision: str | None = None, path: str = "", local_files_only: bool = False
) -> Iterator[None]:
    """Turn huggingface_hub's errors into built-in ones that name the repository and what to do.

    Raises:
        FileNotFoundError: no such repository, revision or file (`MissingFileError`); or the name is none.
        PermissionError: the token does not open the repository, or there is none.
        ConnectionError: the Hub could not be asked, or the connection broke.
        OSError: the Hub answered with another error.
    """
    at = f"{repo} at {revision}" if revision else repo
    what = f"{path} of {at}" if path else at
    try:
        yield
    except HFValidationError as error:
        raise FileNotFoundError(
            f"{shown(repo)} is neither a folder, a file nor the id of a Hub repository (user/repo)."
        ) from error
    except GatedRepoError as error:
        raise PermissionError(
            f"{repo} is gated: ask for access at {constants.ENDPOINT}/{repo}, and be who has it. {LOG_IN}"
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"There is no repository {repo} on the Hub ({constants.ENDPOINT}), or it is private and not yours to see. "
            f"Check the name. {LOG_IN}"
        ) from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(
            f"{repo} has no revision {shown(revision)}; its branches and tags are at {constants.ENDPOINT}/{repo}."
        ) from error
    except RemoteEntryNotFoundError as error:
        raise MissingFileError(f"There is no {path} in {at} on the Hub.") from error
    except LocalEntryNotFoundError as error:
        if local_files_only or constants.is_offline_mode():
            why = "local_files_only=True" if local_files_only else "HF_HUB_OFFLINE is set"
            raise MissingFileError(
                f"{what} is not in the cache, and the Hub may not be asked ({why}). Load it once while online."
            ) from error
        raise ConnectionError(
            f"The Hub ({constants.ENDPOINT}) could not be asked for {what}, which is not in the cache either: "
            f"{_said(error.__cause__ or error)}"
        ) from error
    except OfflineModeIsEnabled as error:
        raise ConnectionError(f"HF_HUB_OFFLINE is set, and {what} needs the Hub.") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise PermissionError(
                f"The Hub did not accept the token, or there is none, for {what} ({_said(error)}). {LOG_IN}"
            ) from error
        raise OSError(f"The Hub answered for {what}: {_said(error)}.") from error
    except TRANSPORT_ERRORS as error:
        raise ConnectionError(
            f"The connection to the Hub ({constants.ENDPOINT}) broke over {what}, and nothing of it was kept: "
            f"{_said(error) or type(error).__name__}. Try again."
        ) from error


def _said(error: BaseException) -> str:
    """What the server said, with its status, or the first line of the error."""
    text = next(iter(str(error).splitlines()), "")
    if isinstance(error, HfHubHTTPError):
        text = f"{error.response.status_code}, {error.server_message or text}"
    return " ".join(text.split()).rstrip(".")
