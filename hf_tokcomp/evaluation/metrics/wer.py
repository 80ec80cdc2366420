"""Word error rate, computed by jiwer after Whisper's English text normaliser or after `plain`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .base import Array, ItemMetric, ratio
from .texts import NORMALISATION, WordCounts, plain, word_counts


class PlainWordErrorRate(ItemMetric):
    """Word errors per reference word, both texts lower-cased and without punctuation; can exceed 100 %.

    Suitable for digits spoken as words, and for other languages with spaces between words. One reference per item.
    Statistics, k = 2: total of substitutions, deletions and insertions; number of words in the reference.
    """

    name = "wer_plain"
    unit = "%"
    higher_is_better = False

    def normalise(self, text: str) -> str:
        """The text whose words are counted."""
        return plain(text)

    def _statistics(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
        several = [item for item, texts in enumerate(references) if len(texts) != 1]
        if several:
            raise ValueError(
                f"{self.name} takes one reference for each item; item {several[0]} has {len(references[several[0]])}."
            )
        return [
            self._of_one(word_counts(self.normalise(truth), self.normalise(text)))
            for (truth,), text in zip(references, predictions, strict=True)
        ]

    def _of_one(self, counts: WordCounts) -> tuple[int, int]:
        return counts.errors, counts.words

    def value(self, sums: Array) -> Array:
        return 100 * ratio(sums[..., 0], sums[..., 1])

    @property
    def settings(self) -> dict[str, str]:
        return {"normaliser": NORMALISATION, "library": f"jiwer {version('jiwer')}"}


class WordErrorRate(PlainWordErrorRate):
    """Word errors per reference word, both texts after Whisper's English text normaliser; can exceed 100 %.

    This normaliser is commonly used to report English speech recognition (arXiv 2212.04356, appendix C). It writes
    numbers as digits: "seven three one" becomes the single word "731", so use ``wer_plain`` for spoken digits. Its list
    of British spellings is part of Whisper's checkpoints and not of transformers: without it, "colour" for "color" is
    an error.

    Args:
        spellings: the mapping of spellings, or its location: the file ``normalizer.json`` of a Whisper checkpoint, or
            the checkpoint, given as a folder or a Hub id such as ``openai/whisper-large-v3``.
        options: those of `ItemMetric`.

    Raises:
        ValueError: the file has other contents.
        OSError: there is no such file, folder or checkpoint.
    """

    name = "wer"

    def __init__(self, spellings: Mapping[str, str] | str | os.PathLike[str] | None = None, **options: Any) -> None:
        from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

        super().__init__(**options)
        if isinstance(spellings, str | os.PathLike):
            spellings = _read(spellings)
        self.spellings = dict(spellings or {})
        self._normaliser = EnglishTextNormalizer(self.spellings)

    def normalise(self, text: str) -> str:
        """The text whose words are counted."""
        normalised: str = self._normaliser(text)
        return normalised

    @property
    def settings(self) -> dict[str, str]:
        count = len(self.spellings)
        return super().settings | {
            "normaliser": f"EnglishTextNormalizer of transformers {version('transformers')}",
            "spellings": f"a list of {count}" if count else "none: British and American spellings are different words",
        }


class WordsRight(WordErrorRate):
    """The share of the reference's words that were written down right, after Whisper's English text normaliser.

    Word error rates also count what was invented: a decoder that loses its way and repeats itself can reach 300 %,
    which hides what it has heard. This share does not count insertions, so that a text of all words would have all of
    them right: read it beside the word error rate. Options are those of `WordErrorRate`. Statistics, k = 2: words that
    are right; number of words in the reference.
    """

    name = "words_right"
    higher_is_better = True
    highest = 100.0

    def _of_one(self, counts: WordCounts) -> tuple[int, int]:
        return counts.right, counts.words


def _read(where: str | os.PathLike[str]) -> dict[str, str]:
    file = Path(where)
    if not file.is_file():
        from transformers.utils import cached_file

        file = Path(str(cached_file(str(where), "normalizer.json")))
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not all(isinstance(word, str) for word in found.values()):
        raise ValueError(f"{file} does not map words to words; give the normalizer.json of a Whisper checkpoint.")
    return found
