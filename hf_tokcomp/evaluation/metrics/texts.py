"""Text normalisation and word error counts shared by metrics, without any metrics library."""

from __future__ import annotations

from typing import NamedTuple

NORMALISATION = "lower-cased, without punctuation"
"""A description of what `plain` does."""


def plain(text: str) -> str:
    """Lower-cased, without punctuation, with single spaces."""
    import jiwer

    # jiwer's own RemoveMultipleSpaces keeps tabs and newlines between words, which would then count as one word.
    return " ".join(jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation()])(text).split())


class WordCounts(NamedTuple):
    """How a text differs from its reference.

    Args:
        right: words of the reference that are there.
        errors: the total of substitutions, deletions and insertions.
        words: number of words in the reference.
    """

    right: int
    errors: int
    words: int


def word_counts(truth: str, text: str) -> WordCounts:
    """Compare two texts word by word, by jiwer.

    Args:
        truth: the reference text, normalised.
        text: the model's text, normalised.
    """
    import jiwer

    # If normalisation leaves nothing of the reference, as for "Uh.", every predicted word is an insertion.
    found = jiwer.process_words(truth, text)
    missed = found.substitutions + found.deletions
    return WordCounts(found.hits, missed + found.insertions, found.hits + missed)
