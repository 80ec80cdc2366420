"""What the Hub's refusals mean, in one line that says what to do and never shows a token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, get_token
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from .errors import HubError

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that may write"


def check_token(token: str | bool | None) -> None:
    """Raise unless a token can stand in a header. Libraries would show it in their error.

    Raises:
        ValueError: it cannot; the message does not show it.
    """
    if isinstance(token, str) and not (token and token.isascii() and token.isprintable() and " " not in token):
        raise ValueError("The token is empty or has blanks, line ends or letters that no token has.")


@contextmanager
def plain_errors(repo_id: str, token: str | bool | None, after: str = "") -> Iterator[None]:
    """Turn what goes wrong between us and the Hub into a `HubError`.

    Args:
        repo_id: the repository that is asked for.
        token: the one in use, so that no message shows it.
        after: what the repository is like if this fails.
    """
    try:
        yield
    except OfflineModeIsEnabled:
        raise HubError(_join(f"{repo_id}: HF_HUB_OFFLINE is set, so the Hub is not asked; unset it.", after)) from None
    except LocalTokenNotFoundError:
        raise HubError(_join(f"{repo_id}: there is no token: {LOG_IN}.", after)) from None
    except HfHubHTTPError as error:
        raise HubError(_hide(_join(_meaning(error, repo_id), after), token)) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2"):
            raise
        said = " ".join(str(error).split())
        message = f"{repo_id}: no answer from the Hub at {constants.ENDPOINT} ({type(error).__name__}: {said})."
        raise HubError(_hide(_join(message, after), token)) from None


def _meaning(error: HfHubHTTPError, repo_id: str) -> str:
    status = error.response.status_code
    said = " ".join((error.server_message or "").split())
    said = f" It says: {said}" if said else ""
    if status == 401:
        return f"{repo_id}: the Hub does not know who asks (401): {LOG_IN}.{said}"
    if status == 403:
        return f"{repo_id}: your token may not do this (403): take one that may write there, or your own name.{said}"
    if status == 404:
        return f"{repo_id}: the Hub has no such owner, repository or branch (404), or does not show it to you.{said}"
    return f"{repo_id}: the Hub answered {status}.{said}"


def _join(message: str, after: str) -> str:
    return f"{message.rstrip()}{'' if message.rstrip().endswith('.') else '.'} {after}".rstrip()


def _hide(message: str, token: str | bool | None) -> str:
    for secret in (token, get_token()):
        if isinstance(secret, str) and secret:
            message = message.replace(secret, "***")
    return message
