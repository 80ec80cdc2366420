"""Metrics by name, for benchmarks and training: statistics for each item, and a value computed from their sums.

All of them are Hugging Face `evaluate.Metric`s (`ItemMetric`), so ``compute``, ``add_batch`` and `evaluate.combine`
work as usual. The per-item statistics, which intervals need and `evaluate` lacks, are our addition. That library takes
seconds to import, and the libraries of individual metrics are optional, so each is imported when a metric is created.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..kinds import Kind

if TYPE_CHECKING:
    from .base import ItemMetric

__all__ = ["METRICS", "WHILE_TRAINING", "ItemMetric", "load_metric"]


def _wer(**options: Any) -> ItemMetric:
    from .wer import WordErrorRate

    return WordErrorRate(**options)


def _wer_plain(**options: Any) -> ItemMetric:
    from .wer import PlainWordErrorRate

    return PlainWordErrorRate(**options)


def _words_right(**options: Any) -> ItemMetric:
    from .wer import WordsRight

    return WordsRight(**options)


def _bleu(**options: Any) -> ItemMetric:
    from .bleu import Bleu

    return Bleu(**options)


def _asr_bleu(**options: Any) -> ItemMetric:
    from .bleu import AsrBleu

    return AsrBleu(**options)


def _cider(**options: Any) -> ItemMetric:
    from .captions import CiderD

    return CiderD(**options)


def _rouge_l(**options: Any) -> ItemMetric:
    from .captions import RougeL

    return RougeL(**options)


def _coco_bleu(order: int) -> Callable[..., ItemMetric]:
    def make(**options: Any) -> ItemMetric:
        from .captions import CocoBleu

        return CocoBleu(**{"order": order} | options)

    return make


def _exact_match(**options: Any) -> ItemMetric:
    from .accuracy import ExactMatch

    return ExactMatch(**options)


def _accuracy(**options: Any) -> ItemMetric:
    from .accuracy import Accuracy

    return Accuracy(**options)


METRICS: dict[str, Callable[..., ItemMetric]] = {
    "wer": _wer,
    "wer_plain": _wer_plain,
    "words_right": _words_right,
    "bleu": _bleu,
    "asr_bleu": _asr_bleu,
    "cider": _cider,
    "rouge_l": _rouge_l,
    **{f"bleu_{order}": _coco_bleu(order) for order in (1, 2, 3, 4)},
    "exact_match": _exact_match,
    "accuracy": _accuracy,
}
"""Metric factories. ``bleu`` is sacrebleu's, for translations, and ``asr_bleu`` the same for spoken ones; ``bleu_1`` to
``bleu_4`` are COCO's, for captions."""
WHILE_TRAINING: dict[Kind, dict[str, str]] = {
    "asr": {"wer": "wer_plain", "exact_match": "exact_match"},
    "translation": {"bleu": "bleu"},
    "captioning": {"bleu": "bleu"},
    "question_answering": {"accuracy": "exact_match"},
    "multiple_choice": {"accuracy": "exact_match"},
}
"""Metrics of fine-tuning by kind of task: the name that `Trainer` logs, and the metric's key in `METRICS`."""


def load_metric(name: str, **options: Any) -> ItemMetric:
    """Create a metric.

    Args:
        name: a key of `METRICS`.
        options: options of the metric, such as ``tokenize="zh"`` for ``bleu``, and those of `evaluate.Metric`.

    Raises:
        ValueError: there is no such metric.
        TypeError: the metric has no such option.
        ImportError: the metric needs a package that is not installed.
    """
    if name not in METRICS:
        raise ValueError(f"There is no metric {name!r}. Use one of: {', '.join(sorted(METRICS))}.")
    return METRICS[name](**options)


def __getattr__(name: str) -> Any:
    if name == "ItemMetric":
        from .base import ItemMetric

        return ItemMetric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
