"""Texts as they are compared, and words counted: what metrics share and needs no library of metrics."""

from __future__ import annotations

NORMALISATION = "lower-cased, without punctuation"
"""What `plain` does, in words."""


def plain(text: str) -> str:
    """Lower-cased, without punctuation, with single spaces."""
    import jiwer

    # jiwer's own RemoveMultipleSpaces leaves a tab or a line's end between words, which it would then count as one.
    return " ".join(jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation()])(text).split())


def word_errors(truth: str, text: str) -> tuple[int, int]:
    """Substitutions, deletions and insertions together, and the words of the truth; jiwer counts.

    Args:
        truth: what there is to read, normalised.
        text: what was read, normalised.
    """
    import jiwer

    # Where normalising leaves nothing of a truth, as of "Uh.", every word that was heard is one too many.
    counts = jiwer.process_words(truth, text)
    errors = counts.substitutions + counts.deletions + counts.insertions
    return errors, counts.hits + counts.substitutions + counts.deletions
