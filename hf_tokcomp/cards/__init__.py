"""Model cards: the README.md of a repository, which describes a compression and how to load it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..config.config import CompressionConfig
from ..hub.ids import CARD_NAME
from ..hub.whole_files import write_whole
from .card import CompressionCard
from .existing import is_written, may_renew, read_card, renew
from .results import Measurement, Score, read_measurements

__all__ = [
    "CARD_NAME",
    "CompressionCard",
    "Measurement",
    "Score",
    "is_written",
    "make_card",
    "may_renew",
    "read_card",
    "read_measurements",
    "write_card",
]


def make_card(config: CompressionConfig, repo_id: str, old: str | None = None, **fields: Any) -> str:
    """The text of a card.

    Args:
        config: the compression.
        repo_id: the repository that the card is for.
        old: the existing card: entries of its front matter that ours lacks are kept, its text is not. The caller must
            check whether it is hand-written (`existing.is_written`).
        fields: the other fields of `CompressionCard`.

    Example:
        >>> from hf_tokcomp.cards import make_card
        >>> config = hf_tokcomp.CompressionConfig(method="ltbm", retention_ratio=0.25)
        >>> "# qwen2-audio-quarter" in make_card(config, "someone/qwen2-audio-quarter").splitlines()
        True
    """
    card = str(CompressionCard(repo_id=repo_id, config=config, **fields))
    return card if old is None else renew(card, old)


def write_card(
    folder: str | os.PathLike[str], config: CompressionConfig, repo_id: str, overwrite: bool = False, **fields: Any
) -> Path | None:
    """Write a folder's README.md, unless it has a hand-written one.

    Args:
        folder: an existing folder.
        config: the compression.
        repo_id: the repository that the card is for.
        overwrite: also replace a hand-written card.
        fields: the other fields of `CompressionCard`.

    Returns:
        The path of the file; None if the existing card was kept.

    Example:
        >>> from hf_tokcomp.cards import write_card
        >>> config = hf_tokcomp.CompressionConfig(method="ltbm", retention_ratio=0.25)
        >>> folder = config.save_pretrained("my-compression").parent
        >>> write_card(folder, config, "someone/qwen2-audio-quarter").name
        'README.md'
    """
    file = Path(folder) / CARD_NAME
    old = read_card(file) if file.is_file() else None
    if old is not None and is_written(old) and not overwrite:
        return None
    return write_whole(file, make_card(config, repo_id, old, **fields))
