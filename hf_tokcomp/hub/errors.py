"""What goes wrong with the Hub, in plain words and built-in exceptions."""

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

# What breaks below HTTP, whichever client (httpx, httpx2) this version of huggingface_hub is built on.
TRANSPORT_ERRORS: tuple[type[Exception], ...] = tuple(
    c for c in HfHubHTTPError.__mro__ if issubclass(c, Exception) and c.__module__.startswith("httpx")
)
LOG_IN = "Log in with `hf auth login`, or pass token=..."


class MissingFileError(FileNotFoundError):
    """The repository is there, or could not be asked, and the file is not."""


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
        path: the file that is fetched; empty where something is sent.
        local_files_only: whether the Hub may not be asked.
        token: the one that is sent; a server might repeat it, and no message does.

    Raises:
        FileNotFoundError: no such repository, revision or file (`MissingFileError`); or the name is none.
        PermissionError: the token does not open the repository, or there is none.
        ConnectionError: the Hub could not be asked, or the connection broke.
        OSError: the Hub answered with another error.
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
            f"{repo} is gated: ask for access at {hub}/{repo}, and be who has it. {LOG_IN}"
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"There is no repository {repo} on the Hub ({hub}), or it is private and not yours to see. "
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
                f"{what} is not in the cache, and the Hub may not be asked ({why}). Load it once while online."
            ) from error
        raise ConnectionError(
            f"The Hub ({hub}) could not be asked for {what}, which is not in the cache either: "
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
        kept = "; nothing of it was kept" if path else ""  # what became of a push is for who pushes to say
        raise ConnectionError(
            f"The connection to the Hub ({hub}) broke over {what}{kept}: {_said(error) or type(error).__name__}. Try "
            "again."
        ) from error


def unanswered(error: Exception) -> bool:
    """Whether the Hub gave no answer at all."""
    return isinstance(error, TRANSPORT_ERRORS) and not isinstance(error, HfHubHTTPError)


def not_reached(name: str, error: Exception | None = None) -> str:
    """What to say of a name that is not here, while the Hub may not be asked (no error) or gives no answer."""
    if error is None:
        why = "HF_HUB_OFFLINE is set, so that the Hub may not be asked for it: unset it"
    else:
        said = _said(error) or type(error).__name__
        why = f"the Hub, {_public(constants.ENDPOINT)}, cannot be reached: {said}. Check the connection"
    return f"{name} is no folder here and not in the cache, and {why}, or name a local folder."


def _said(error: BaseException) -> str:
    """What the server said, with its status, or the first line of the error."""
    text = next(iter(str(error).splitlines()), "")
    if isinstance(error, HfHubHTTPError):
        text = f"{error.response.status_code}, {error.server_message or text}"
    return _public(" ".join(text.split()).rstrip("."))


@contextmanager
def _without_tokens(token: str | bool | None) -> Iterator[None]:
    """Take the token out of what an error, and those behind it, say."""
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
    """A text without this token and the environment's; what is no text as it is."""
    for secret in (token, get_token()):
        if isinstance(said, str) and isinstance(secret, str) and secret:
            said = said.replace(secret, "***")
    return said


def _public(text: str) -> str:
    """Without the name and password that an address may carry."""
    return re.sub(r"//[^/@\s]*@", "//", text)
