"""Errors of the Hub as built-in exceptions with plain messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huggingface_hub import constants, get_token
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

from ..messages import shown

# Errors below HTTP, of whichever client (httpx, httpx2) this version of huggingface_hub uses.
TRANSPORT_ERRORS: tuple[type[Exception], ...] = tuple(
    c for c in HfHubHTTPError.__mro__ if issubclass(c, Exception) and c.__module__.startswith("httpx")
)
LOG_IN = "Log in with `hf auth login`, or pass token=..."


class MissingFileError(FileNotFoundError):
    """The file is not in the repository, or not in the cache while the repository cannot be reached."""


@contextmanager
def hub_errors(
    repo: str,
    revision: str | None = None,
    path: str = "",
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Iterator[None]:
    """Turn huggingface_hub's errors into built-in ones that name the repository and what to do.

    Args:
        repo: the repository.
        revision: its revision.
        path: the file being downloaded; empty for an upload.
        local_files_only: whether the Hub must not be contacted.
        token: the token in use; a server might repeat it, but no message may.

    Raises:
        FileNotFoundError: no such repository, revision or file (`MissingFileError`), or an invalid name.
        PermissionError: the token gives no access to the repository, or there is none.
        ConnectionError: the Hub could not be reached, or the connection broke.
        OSError: the Hub returned another error.
    """
    hub = _public(constants.ENDPOINT)
    at = f"{repo} at {revision}" if revision else repo
    what = f"{path} of {at}" if path else at
    try:
        with _without_tokens(token):
            yield
    except HFValidationError as error:
        raise FileNotFoundError(
            f"{shown(repo)} is neither a folder, a file nor the id of a Hub repository (user/repo)."
        ) from error
    except GatedRepoError as error:
        raise PermissionError(
            f"{repo} is gated: ask for access at {hub}/{repo}, and log in as the user who has it. {LOG_IN}"
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"There is no repository {repo} on the Hub ({hub}), or it is private and you have no access. "
            f"Check the name. {LOG_IN}"
        ) from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(
            f"{repo} has no revision {shown(revision)}; its branches and tags are at {hub}/{repo}."
        ) from error
    except RemoteEntryNotFoundError as error:
        raise MissingFileError(f"There is no {path} in {at} on the Hub.") from error
    except LocalEntryNotFoundError as error:
        if local_files_only or constants.is_offline_mode():
            why = "local_files_only=True" if local_files_only else "HF_HUB_OFFLINE is set"
            raise MissingFileError(
                f"{what} is not in the cache, and the Hub must not be contacted ({why}). Load it once while "
                "you are online."
            ) from error
        raise ConnectionError(
            f"The Hub ({hub}) could not be reached for {what}, which is not in the cache either: "
            f"{_said(error.__cause__ or error)}"
        ) from error
    except OfflineModeIsEnabled as error:
        raise ConnectionError(f"HF_HUB_OFFLINE is set, but {what} needs the Hub.") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise PermissionError(
                f"The Hub rejected the token (or none was given) for {what} ({_said(error)}). {LOG_IN}"
            ) from error
        raise OSError(f"The Hub answered the request for {what}: {_said(error)}.") from error
    except TRANSPORT_ERRORS as error:
        kept = "; nothing of it was kept" if path else ""  # the caller of a push reports its outcome
        raise ConnectionError(
            f"The connection to the Hub ({hub}) broke during {what}{kept}: {_said(error) or type(error).__name__}. Try "
            "again."
        ) from error


def unanswered(error: Exception) -> bool:
    """Whether the Hub did not answer at all."""
    return isinstance(error, TRANSPORT_ERRORS) and not isinstance(error, HfHubHTTPError)


def not_reached(name: str, error: Exception | None = None) -> str:
    """The message for a name that was not found locally while the Hub is off limits (no error) or unreachable."""
    if error is None:
        why = "HF_HUB_OFFLINE is set, so that the Hub may not be asked for it: unset it"
    else:
        said = _said(error) or type(error).__name__
        why = f"the Hub, {_public(constants.ENDPOINT)}, cannot be reached: {said}. Check the connection"
    return f"{name} is no folder here and not in the cache, and {why}, or name a local folder."


def _said(error: BaseException) -> str:
    """The server's message with its status, or the first line of the error."""
    text = next(iter(str(error).splitlines()), "")
    if isinstance(error, HfHubHTTPError):
        text = f"{error.response.status_code}, {error.server_message or text}"
    return _public(" ".join(text.split()).rstrip("."))


@contextmanager
def _without_tokens(token: str | bool | None) -> Iterator[None]:
    """Remove the token from the messages of an error and its causes."""
    try:
        yield
    except Exception as error:
        behind: BaseException | None = error
        while behind is not None:
            behind.args = tuple(masked(said, token) for said in behind.args)
            if isinstance(behind, HfHubHTTPError):
                behind.server_message = masked(behind.server_message, token)
            behind = behind.__cause__ or behind.__context__
        raise


def masked(said: Any, token: str | bool | None) -> Any:
    """A text without this token or the environment's; anything else unchanged."""
    for secret in (token, get_token()):
        if isinstance(said, str) and isinstance(secret, str) and secret:
            said = said.replace(secret, "***")
    return said


def _public(text: str) -> str:
    """An address without the user name and password it may contain."""
    return re.sub(r"//[^/@\s]*@", "//", text)
