"""Text normalisation and word error counts shared by metrics, without any metrics library."""

from __future__ import annotations

NORMALISATION = "lower-cased, without punctuation"
"""A description of what `plain` does."""


def plain(text: str) -> str:
    """Lower-cased, without punctuation, with single spaces."""
    import jiwer

    # jiwer's own RemoveMultipleSpaces keeps tabs and newlines between words, which would then count as one word.
    return " ".join(jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation()])(text).split())


def word_errors(truth: str, text: str) -> tuple[int, int]:
    """The total of substitutions, deletions and insertions, and the number of words in the reference, by jiwer.

    Args:
        truth: the reference text, normalised.
        text: the model's text, normalised.
    """
    import jiwer

    # If normalisation leaves nothing of the reference, as for "Uh.", every predicted word is an insertion.
    counts = jiwer.process_words(truth, text)
    errors = counts.substitutions + counts.deletions + counts.insertions
    return errors, counts.hits + counts.substitutions + counts.deletions
