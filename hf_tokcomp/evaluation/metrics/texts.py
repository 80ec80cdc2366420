"""How right texts are: word errors, BLEU, exact answers, each by a well-kept library where there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Metric = Callable[[Sequence[str], Sequence[str]], dict[str, float]]

NORMALISATION = "lower-cased, without punctuation"


def plain(text: str) -> str:
    """Lower-cased, without punctuation, with single spaces."""
    import jiwer

    # jiwer's own RemoveMultipleSpaces leaves a tab or a line's end between words, which it would then count as one.
    return " ".join(jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation()])(text).split())


def word_errors(truths: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    """Word error rate of all words together (it can be above 1) and the share of texts that are exactly right.

    Both sides are made `plain` first; jiwer counts.

    Returns:
        ``wer``, ``exact_match``, ``wrong`` (substitutions, deletions and insertions) and ``words`` of the truths.

    Raises:
        ValueError: there is nothing to compare, or not one text for every truth.
    """
    import jiwer

    pairs = _pairs(truths, texts)
    counts = jiwer.process_words([truth for truth, _ in pairs], [text for _, text in pairs])
    words = counts.hits + counts.substitutions + counts.deletions
    wrong = counts.substitutions + counts.deletions + counts.insertions
    right = sum(truth == text for truth, text in pairs)
    return {"wer": wrong / max(words, 1), "exact_match": right / len(pairs), "wrong": wrong, "words": words}


def word_error_rate(truths: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    """The rates of `word_errors`: ``wer`` and ``exact_match``.

    Raises:
        ValueError: there is nothing to compare, or not one text for every truth.
    """
    found = word_errors(truths, texts)
    return {name: found[name] for name in ("wer", "exact_match")}


def bleu(truths: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    """Corpus BLEU by sacrebleu with its own tokenization, 0 to 100, one reference each; cased, with punctuation.

    Raises:
        ValueError: there is nothing to compare, or not one text for every truth.
    """
    import sacrebleu

    _check(truths, texts)
    return {"bleu": float(sacrebleu.corpus_bleu(list(texts), [list(truths)]).score)}


def accuracy(truths: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    """The share of texts that are the truth, both made `plain`.

    Raises:
        ValueError: there is nothing to compare, or not one text for every truth.
    """
    pairs = _pairs(truths, texts)
    return {"accuracy": sum(truth == text for truth, text in pairs) / len(pairs)}


METRICS: dict[str, Metric] = {
    "asr": word_error_rate,
    "translation": bleu,
    "captioning": bleu,
    "question_answering": accuracy,
    "multiple_choice": accuracy,
}
"""What is measured while training for a task, by its kind."""


def _pairs(truths: Sequence[str], texts: Sequence[str]) -> list[tuple[str, str]]:
    _check(truths, texts)
    return [(plain(truth), plain(text)) for truth, text in zip(truths, texts, strict=True)]


def _check(truths: Sequence[str], texts: Sequence[str]) -> None:
    if not truths or len(truths) != len(texts):
        raise ValueError(f"There are {len(truths)} truths and {len(texts)} texts; there must be one text for each.")
