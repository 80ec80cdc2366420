"""Exact match and accuracy: the fraction of answers that are exactly right."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Array, ItemMetric, ratio
from .texts import NORMALISATION, plain


class ExactMatch(ItemMetric):
    """The fraction of predictions equal to one of their references, both lower-cased and without punctuation.

    Statistics, k = 2: 1 if equal, else 0; 1.
    """

    name = "exact_match"
    unit = "%"
    highest = 100.0

    def _statistics(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[bool, int]]:
        return [
            (plain(text) in {plain(truth) for truth in truths}, 1)
            for text, truths in zip(predictions, references, strict=True)
        ]

    def value(self, sums: Array) -> Array:
        return 100 * ratio(sums[..., 0], sums[..., 1])

    @property
    def settings(self) -> dict[str, str]:
        return {"normaliser": NORMALISATION, "match": "exact"}


class Accuracy(ExactMatch):
    """The fraction of questions answered correctly, given chosen options: `choices` derives them from free text.

    An option must equal a reference character by character: options may differ only in punctuation ("C", "C#").
    Statistics, k = 2: 1 if right, else 0; 1.
    """

    name = "accuracy"

    def _statistics(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[bool, int]]:
        return [(text in truths, 1) for text, truths in zip(predictions, references, strict=True)]

    @property
    def settings(self) -> dict[str, str]:
        return {"match": "the option itself"}
