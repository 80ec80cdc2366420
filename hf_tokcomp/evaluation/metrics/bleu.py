"""Corpus BLEU of translations, by sacrebleu: of texts, and of what a Whisper heard in speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
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
        return np.where(defined, score, np.where(np.isnan(length), np.nan, 0.0))  # nan: unknown, as of one recording

    @property
    def settings(self) -> dict[str, str]:
        self._scorer.corpus_score(["a"], [["a"]])  # sacrebleu's signature is available only after a score
        signature = self._scorer.get_signature()
        signature.update("nrefs", None)  # from the dummy score above; really a property of the data
        return {"library": "sacrebleu", "signature": str(signature)}


class AsrBleu(Bleu):
    """ASR-BLEU, 0 to 100: `Bleu` of what speech recognition heard in spoken translations.

    Transcripts and truths both go through Whisper's own text normaliser, `EnglishTextNormalizer` for English and
    `BasicTextNormalizer` for all other languages, so that case and punctuation, which speech does not have, do not
    count. (CVSS, arXiv 2201.03713, normalises and uses sacrebleu; which normaliser depends on the recogniser, and
    Whisper's is our choice.) `BasicTextNormalizer` replaces all marks by spaces, the vowel signs of Indic and some
    other scripts among them: numbers for such languages compare only with each other.

    Args:
        language: Whisper's code of the language.
        tokenize: one of sacrebleu's tokenizers: "13a", or "char" for languages without spaces between words.
        spellings: Whisper's list of British and American spellings, for English; () for none.
        options: those of `ItemMetric`.

    Raises:
        ValueError: sacrebleu has no such tokenizer.
    """

    name = "asr_bleu"
    heard = True

    def __init__(
        self, language: str = "en", tokenize: str = "13a", spellings: Mapping[str, str] | tuple[()] = (), **options: Any
    ) -> None:
        from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

        super().__init__(tokenize, **options)
        self.spellings = dict(spellings) if language == "en" else {}
        self.language = language
        self._normaliser = EnglishTextNormalizer(self.spellings) if language == "en" else BasicTextNormalizer()

    def _statistics(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[int]]:
        def plain(text: str) -> str:
            return " ".join(self._normaliser(text).split())

        return super()._statistics(
            [plain(text) for text in predictions], [[plain(truth) for truth in truths] for truths in references]
        )

    @property
    def settings(self) -> dict[str, str]:
        found = super().settings | {
            "normaliser": f"{type(self._normaliser).__name__} of transformers {version('transformers')}",
            "language": self.language,
        }
        if self.language == "en":
            count = len(self.spellings)
            found["spellings"] = (
                f"a list of {count}" if count else "none: British and American spellings are different words"
            )
        return found
