"""Names on the Hub: telling repository ids from local folders."""

from __future__ import annotations

import os

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from ..hub.ids import is_hub_id


def check_repo_id(repo_id: str) -> str:
    """Return the id unchanged if it is valid.

    Raises:
        ValueError: it is not a valid repository id; the message shows an example.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} cannot be the name of a repository on the Hub: write USER/NAME.") from error
    return repo_id


def hub_id(name: object) -> str | None:
    """The name if it is ``USER/NAME`` on the Hub; None for a local folder or anything that is not a name."""
    known = isinstance(name, str) and "@" not in name and is_hub_id(name) and not os.path.exists(name)
    return str(name) if known else None
