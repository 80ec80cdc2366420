"""Existing cards: telling hand-written ones from generated ones.

Our cards end with a line that holds a checksum of the text. As long as it matches, nobody has edited the card and it
may be regenerated. An unfilled template of huggingface_hub, transformers or PEFT may be replaced. Anything else is
considered hand-written and kept.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from ..config.registry import find_method
from ..hub.shared_files import local_paths

MARK = re.compile(r"\n*<!-- hf_tokcomp card ([0-9a-f]{12}): .*? -->\s*\Z")
OWN = ("library_name", "base_model", "base_model_relation", "pipeline_tag", "model-index")
"""Front matter keys that are always taken from the new card, even if it lacks them."""
GENERATED = (
    r"This is the model card of a .* transformers model that has been pushed on the Hub\. "
    r"This model card has been automatically generated\.",
    r"### Framework versions",
    r"- PEFT \S+",
)


@dataclass
class Card:
    """A card, split into front matter and text."""

    data: dict[str, Any]
    text: str

    @staticmethod
    def parse(content: str) -> Card:
        """Split a card. Front matter that is not a mapping counts as text."""
        found = REGEX_YAML_BLOCK.search(content)
        try:
            data = yaml.safe_load(found.group(2)) if found else None
        except (yaml.YAMLError, RecursionError):
            data = None
        if found is None or not isinstance(data, dict):
            return Card({}, content)
        return Card(data, content[found.end() :])

    def __str__(self) -> str:
        front = yaml.safe_dump(self.data, sort_keys=False, allow_unicode=True, width=10_000)
        return f"---\n{front}---\n{self.text}"


def read_card(file: Path) -> str:
    """The contents of a card's file.

    Raises:
        ValueError: the file is not text.

    Example:
        >>> from pathlib import Path
        >>> from hf_tokcomp.cards import read_card
        >>> file = Path("README.md")
        >>> length = file.write_text("# My model")
        >>> read_card(file)
        '# My model'
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not text in UTF-8.") from None


def sign(card: Card) -> str:
    """The card with the line that distinguishes a card of ours from one that was edited."""
    text = MARK.sub("", card.text).rstrip() + "\n"
    line = f"<!-- hf_tokcomp card {_checksum(text)}: renewed by `hf-tokcomp push` as long as nobody edits it -->"
    return str(Card(card.data, f"{text}\n{line}\n"))


def is_written(content: str) -> bool:
    """Whether this card was written or edited by hand, so that it must not be replaced without being asked to.

    Example:
        >>> from hf_tokcomp.cards import is_written, make_card
        >>> config = hf_tokcomp.CompressionConfig(method="ltbm")
        >>> is_written("# My model"), is_written(make_card(config, "someone/half"))
        (True, False)
    """
    text = Card.parse(content).text.replace("\r\n", "\n")
    mark = MARK.search(text)
    if mark is not None:
        return mark[1] != _checksum(text[: mark.start()].rstrip() + "\n")
    template = {line.strip() for line in ModelCard.from_template(ModelCardData()).text.splitlines()}
    return any(
        line.strip() not in template and not any(re.fullmatch(known, line.strip()) for known in GENERATED)
        for line in text.splitlines()
        if line.strip()
    )


def may_renew(content: str, library: str) -> bool:
    """Whether a card may be replaced by one of ours with this ``library_name``.

    The card of a config does not replace that of a model or an adapter, even if the latter was generated.

    Example:
        >>> from hf_tokcomp.cards import make_card, may_renew
        >>> config = hf_tokcomp.CompressionConfig(method="ltbm")
        >>> may_renew(make_card(config, "someone/half"), "hf_tokcomp"), may_renew("# My model", "hf_tokcomp")
        (True, False)
    """
    known = Card.parse(content).data.get("library_name")
    return not is_written(content) and (library != "hf_tokcomp" or known in (None, library))


def renew(new: str, old: str) -> str:
    """The new card, plus what only the old front matter has: a licence, languages, custom tags."""
    card, before = Card.parse(new), Card.parse(old).data
    tags = before.get("tags")
    for tag in tags if isinstance(tags, list) else ():
        # The Hub adds tags with a colon itself; the methods of the old compression may not be those of the new one.
        if isinstance(tag, str) and ":" not in tag and find_method(tag) is None and tag not in card.data["tags"]:
            card.data["tags"].append(tag)
    card.data |= {
        key: value
        for key, value in before.items()
        if key not in card.data and key not in OWN and not any(local_paths(value))
    }
    return str(card)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
