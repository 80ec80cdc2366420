"""The share of texts that are exactly right."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Array, ItemMetric, ratio
from .texts import NORMALISATION, plain


class ExactMatch(ItemMetric):
    """The share of predictions equal to one of their references, both lower-cased and without punctuation.

    Statistics, k = 2: 1 where equal, else 0; 1.
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
    """The share of questions answered right, by options that are chosen already: `choices` makes them from free text.

    An option is right where it is a reference, letter by letter: options may differ in punctuation alone ("C", "C#").
    Statistics, k = 2: 1 where right, else 0; 1.
    """

    name = "accuracy"

    def _statistics(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[bool, int]]:
        return [(text in truths, 1) for text, truths in zip(predictions, references, strict=True)]

    @property
    def settings(self) -> dict[str, str]:
        return {"match": "the option itself"}
