"""Package: what goes into a repository of the Hub, whole before any of it is sent."""

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
    """What goes into a repository.

    Args:
        repo_id: the repository, as the user named it.
        kind: what it holds.
        config: the compression.
        files: path in the repository to a file here or its content, without the card.
        left_out: what is in the folder and stays here.
        fields: what the card says beyond this, for `CompressionCard`.
        folder_card: the folder's own card; None if it has none.
        has_card: whether a card goes along.
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
        """Whether the folder has a card that somebody wrote."""
        return self.folder_card is not None and is_written(self.folder_card)

    def card(
        self,
        repo_id: str | None = None,
        old: str | None = None,
        overwrite: bool = False,
        revision: str | None = None,
    ) -> str:
        """The card to send: the folder's if somebody wrote it, else ours.

        Args:
            repo_id: the repository with its owner, where the Hub has said who that is.
            old: the repository's card, which ours takes the place of.
            overwrite: ours in any case.
            revision: the branch that it is sent to; None for the main one.

        Raises:
            ValueError: the front matter of the folder's card names a place on this machine.
        """
        if self.folder_card is not None and self.written and not overwrite:
            way_out = "take it out, or let overwrite_card (--overwrite-card) write ours."
            check_local(CARD_NAME, Card.parse(self.folder_card).data, way_out)
            return self.folder_card
        old = self.folder_card if old is None else old
        return make_card(self.config, repo_id or self.repo_id, old, kind=self.kind, revision=revision, **self.fields)

    def sizes(self) -> dict[str, int]:
        """Bytes of every file, without the card, by its path."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.files.items()
        }
