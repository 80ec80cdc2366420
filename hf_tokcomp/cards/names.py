"""Names on the Hub: which strings are ids of repositories, and which are folders of this machine."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]


def check_repo_id(repo_id: str) -> str:
    """The id itself.

    Raises:
        ValueError: it cannot be the id of a repository; the message shows what one looks like.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} cannot be the name of a repository on the Hub: write USER/NAME.") from error
    return repo_id


def hub_id(name: str | None) -> str | None:
    """The name if it can be ``USER/NAME`` on the Hub; None for a folder of this machine, and for nothing."""
    if not name or "/" not in name or Path(name).expanduser().exists():
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name
