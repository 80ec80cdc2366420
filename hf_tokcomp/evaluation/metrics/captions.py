"""CIDEr-D, ROUGE-L and BLEU for captions, computed with pycocoevalcap (COCO's evaluation)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from .base import Array, ItemMetric, ratio
from .ptb import Tokenizer, choose, coco, penn_treebank, simple

_PENN_TREEBANK: dict[str, str] = {}
"""Cache of tokenized texts: a sweep scores the same references repeatedly, and Java is slow."""


class CaptionMetric(ItemMetric):
    """Base class of caption metrics: handles the tokenizer; values are on pycocoevalcap's own scale.

    Args:
        tokenizer: "ptb" is the Penn Treebank tokenizer used for published numbers, and needs ``java`` on the PATH;
            "simple" does not; "auto" uses "ptb" if possible. `settings` records which one was used.
        options: those of `ItemMetric`.

    Raises:
        ImportError: pycocoevalcap is not installed.
        ValueError: there is no such tokenizer, or "ptb" without ``java``.
    """

    def __init__(self, tokenizer: Tokenizer = "auto", **options: Any) -> None:
        super().__init__(**options)
        coco("tokenizer.ptbtokenizer")  # fail before generating, not after
        self.tokenizer = choose(tokenizer)

    def _statistics(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Any:
        texts = [*predictions, *(truth for truths in references for truth in truths)]
        words = self._words(texts)
        rest = iter(words[len(predictions) :])
        return self._of_words(words[: len(predictions)], [[next(rest) for _ in truths] for truths in references])

    def _words(self, texts: Sequence[str]) -> list[str]:
        if self.tokenizer == "simple":
            return [simple(text) for text in texts]
        new = [text for text in dict.fromkeys(texts) if text not in _PENN_TREEBANK]
        if new:
            _PENN_TREEBANK.update(zip(new, penn_treebank(new), strict=True))
        return [_PENN_TREEBANK[text] for text in texts]

    def _of_words(self, predictions: list[str], references: list[list[str]]) -> Any:
        raise NotImplementedError

    @property
    def settings(self) -> dict[str, str]:
        names = {"ptb": "Penn Treebank (stanford-corenlp 3.4.1)", "simple": "simple (no java): not as published"}
        tokenizer = f"{names[self.tokenizer]}, lower-cased, without punctuation"
        return {"tokenizer": tokenizer, "library": f"pycocoevalcap {version('pycocoevalcap')}"}


class _Mean(CaptionMetric):
    def value(self, sums: Array) -> Array:
        return ratio(sums[..., 0], sums[..., 1])


class CiderD(_Mean):
    """Similarity of n-grams, weighted by their rarity in the references; 0 to 10 (arXiv 1411.5726, section 5).

    pycocoevalcap calls it CIDEr, but its code implements CIDEr-D, with clipped counts and a Gaussian length penalty
    (sigma 6). Most papers report this number, some of them multiplied by 100.

    The weights are computed from all references in one call to `statistics`: rows of different calls cannot be added,
    and the score of a subset within one call differs from that of a call with the subset alone. A bootstrap keeps the
    weights fixed. A single item scores 0, since nothing in it is rare.
    Statistics, k = 2: the item's CIDEr-D; 1.

    Raises:
        ValueError: no reference contains a word.
    """

    name = "cider"
    highest = 10.0

    @property
    def settings(self) -> dict[str, str]:
        return super().settings | {"idf": "of the references scored, all together"}

    def _of_words(self, predictions: list[str], references: list[list[str]]) -> Array:
        if not any(truth for truths in references for truth in truths):
            raise ValueError("No reference of any item has a word, so that CIDEr-D knows no rare words.")
        scorer = coco("cider.cider_scorer").CiderScorer(n=4, sigma=6.0)
        for text, truths in zip(predictions, references, strict=True):
            scorer += (text, truths)
        _, scores = scorer.compute_score()
        return np.stack([scores, np.ones(len(scores))], axis=1)


class RougeL(_Mean):
    """Longest common subsequence of words: F-score (beta 1.2) of the best precision and the best recall; 0 to 1.

    Statistics, k = 2: the item's ROUGE-L; 1.
    """

    name = "rouge_l"
    highest = 1.0

    def _of_words(self, predictions: list[str], references: list[list[str]]) -> list[tuple[float, int]]:
        score = coco("rouge.rouge").Rouge().calc_score
        return [(score([text], truths), 1) for text, truths in zip(predictions, references, strict=True)]


class CocoBleu(CaptionMetric):
    """BLEU for captions as in COCO's evaluation, from all items together, with almost no smoothing; 0 to 1.

    Statistics, k = 2 order + 2: number of n-grams found in a reference, for n from 1 to order; total number of n-grams;
    length of the prediction; length of the nearest reference.

    Args:
        order: the maximum n-gram length, 1 to 4: BLEU-1 to BLEU-4.
        options: those of `CaptionMetric`.

    Raises:
        ValueError: the order is not between 1 and 4.
    """

    name = "bleu_4"
    highest = 1.0

    def __init__(self, order: int = 4, **options: Any) -> None:
        if order not in (1, 2, 3, 4):
            raise ValueError(f"order={order!r}: BLEU of captions is BLEU-1, 2, 3 or 4.")
        self.name, self.order = f"bleu_{order}", order
        super().__init__(**options)

    def _of_words(self, predictions: list[str], references: list[list[str]]) -> list[list[int]]:
        bleu, order, rows = coco("bleu.bleu_scorer"), self.order, []
        for text, truths in zip(predictions, references, strict=True):
            one = bleu.cook_test(text, bleu.cook_refs(truths, n=order), eff="closest", n=order)
            rows.append([*one["correct"], *one["guess"], one["testlen"], one["reflen"]])
        return rows

    def value(self, sums: Array) -> Array:
        tiny, small = 1e-15, 1e-9  # COCO's constants, to avoid division by zero
        sums = np.maximum(sums, 0)  # bootstrap weights may be negative
        found, there_are = sums[..., : self.order], sums[..., self.order : 2 * self.order]
        precision = np.prod((found + tiny) / (there_are + small), axis=-1) ** (1 / self.order)
        length = (sums[..., -2] + tiny) / (sums[..., -1] + small)
        score: Array = precision * np.exp(np.minimum(0, 1 - 1 / length))
        return score
