"""Package: the contents of a Hub repository, complete before anything is uploaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..cards import is_written, make_card
from ..cards.card import Kind
from ..cards.existing import Card
from ..config.config import CompressionConfig
from ..hub.ids import CARD_NAME
from ..hub.shared_files import check_local

NOUNS: dict[Kind, str] = {"config": "compression config", "model": "compressed model", "adapter": "compressed adapter"}


@dataclass(frozen=True, kw_only=True)
class Package:
    """The contents of a repository.

    Args:
        repo_id: the repository, as named by the user.
        kind: what it holds.
        config: the compression.
        files: local file or content by path in the repository, without the card.
        left_out: files in the folder that are not uploaded.
        fields: further fields of the card, for `CompressionCard`.
        folder_card: the folder's own card; None if it has none.
        has_card: whether a card is uploaded.
    """

    repo_id: str
    kind: Kind
    config: CompressionConfig
    files: Mapping[str, Path | bytes]
    left_out: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    folder_card: str | None = None
    has_card: bool = True

    @property
    def noun(self) -> str:
        return NOUNS[self.kind]

    @property
    def written(self) -> bool:
        """Whether the folder has a hand-written card."""
        return self.folder_card is not None and is_written(self.folder_card)

    def card(
        self,
        repo_id: str | None = None,
        old: str | None = None,
        overwrite: bool = False,
        revision: str | None = None,
    ) -> str:
        """The card to upload: the folder's if it is hand-written, otherwise ours.

        Args:
            repo_id: the repository with its owner, once known from the Hub.
            old: the repository's existing card, which ours replaces.
            overwrite: use ours in any case.
            revision: the branch to upload to; None for the main one.

        Raises:
            ValueError: the front matter of the folder's card contains a local path.
        """
        if self.folder_card is not None and self.written and not overwrite:
            way_out = "take it out, or let overwrite_card (--overwrite-card) write ours."
            check_local(CARD_NAME, Card.parse(self.folder_card).data, way_out)
            return self.folder_card
        old = self.folder_card if old is None else old
        return make_card(self.config, repo_id or self.repo_id, old, kind=self.kind, revision=revision, **self.fields)

    def sizes(self) -> dict[str, int]:
        """Size in bytes of every file except the card, by path."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.files.items()
        }
