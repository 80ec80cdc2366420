"""read_prompt: read the default prompt of a model or adapter."""

from __future__ import annotations

import logging
import os

from ..hub.prompt_file import PROMPT_NAME, StoredPrompt, parse_prompt
from .stored_files import Where, fetch

logger = logging.getLogger(__name__)


def read_prompt(name: str | os.PathLike[str], where: Where) -> StoredPrompt | None:
    """The content of ``prompt.json``; None if there is none, or the Hub cannot be reached.

    Args:
        name: folder or Hub id.
        where: keywords for the Hub, see `hf_tokcomp.loading.stored_files.WHERE`.
    """
    try:
        file = fetch(name, PROMPT_NAME, where)
    except OSError:
        return None  # it is optional, so being offline is no error
    if file is None:
        return None
    try:
        return parse_prompt(file.read_bytes(), f"{PROMPT_NAME} of {name}")
    except (ValueError, OSError) as error:
        logger.warning("%s It is ignored.", error)
        return None
