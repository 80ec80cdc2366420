"""Corpus BLEU of translations, by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .base import Array, ItemMetric

ORDER = 4


class Bleu(ItemMetric):
    """Corpus BLEU, 0 to 100, cased and with punctuation (Papineni et al. 2002; Post 2018, arXiv 1804.08771).

    Computed by sacrebleu with its default smoothing, from the counts of all items together; no item has its own BLEU.
    Statistics, k = 10: number of n-grams found in a reference, for n from 1 to 4; total number of n-grams, for n from
    1 to 4; length of the prediction; length of the nearest reference.

    Args:
        tokenize: one of sacrebleu's tokenizers: "13a", "zh" for Chinese (as for CoVoST2 en-zh), "char", "intl", and
            others that need a download or a package.
        options: those of `ItemMetric`.

    Raises:
        ValueError: sacrebleu has no such tokenizer.
    """

    name = "bleu"
    highest = 100.0

    def __init__(self, tokenize: str = "13a", **options: Any) -> None:
        import sacrebleu

        super().__init__(**options)
        if tokenize not in sacrebleu.BLEU.TOKENIZERS:
            known = ", ".join(sorted(sacrebleu.BLEU.TOKENIZERS))
            raise ValueError(f"sacrebleu has no tokenizer {tokenize!r}. Use one of: {known}.")
        self._scorer = sacrebleu.BLEU(tokenize=tokenize)

    def _statistics(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[int]]:
        rows = []
        for text, truths in zip(predictions, references, strict=True):
            one = self._scorer.corpus_score([text], [[truth] for truth in truths])
            rows.append([*one.counts, *one.totals, one.sys_len, one.ref_len])
        return rows

    def value(self, sums: Array) -> Array:
        found, there_are = np.maximum(sums[..., :ORDER], 0), np.maximum(sums[..., ORDER : 2 * ORDER], 0)
        length, wanted = sums[..., -2], sums[..., -1]
        defined = (found > 0).any(axis=-1) & (there_are > 0).all(axis=-1) & (length > 0)
        # sacrebleu's "exp" smoothing: the first order without a match counts as half a match, the next as a quarter.
        missing = found == 0
        smoothed = np.where(missing, 0.5 ** np.cumsum(missing, axis=-1), found)
        precision = smoothed / np.where(there_are > 0, there_are, 1)
        brevity = np.exp(np.minimum(0, 1 - wanted / np.where(length > 0, length, 1)))
        score = 100 * brevity * np.exp(np.log(precision).mean(axis=-1))
        return np.where(defined, score, 0.0)

    @property
    def settings(self) -> dict[str, str]:
        self._scorer.corpus_score(["a"], [["a"]])  # sacrebleu's signature is available only after a score
        signature = self._scorer.get_signature()
        signature.update("nrefs", None)  # from the dummy score above; really a property of the data
        return {"library": "sacrebleu", "signature": str(signature)}
