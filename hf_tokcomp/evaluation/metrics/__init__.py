"""The metrics of evaluation by name: statistics for each item, and a value from their sums.

`texts` is what fine-tuning reports while it runs; these are what a benchmark reports, with intervals. The
libraries behind a metric are imported when it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import ItemMetric

__all__ = ["METRICS", "ItemMetric", "load_metric"]


def _make(module: str, metric_class: str, /, **options: Any) -> ItemMetric:
    metric: ItemMetric = getattr(import_module(f".{module}", __name__), metric_class)(**options)
    return metric


METRICS: dict[str, Callable[..., ItemMetric]] = {
    "wer": partial(_make, "wer", "WordErrorRate"),
    "wer_plain": partial(_make, "wer", "PlainWordErrorRate"),
    "bleu": partial(_make, "bleu", "Bleu"),
    "cider": partial(_make, "captions", "CiderD"),
    "rouge_l": partial(_make, "captions", "RougeL"),
    "bleu_1": partial(_make, "captions", "CocoBleu", order=1),
    "bleu_2": partial(_make, "captions", "CocoBleu", order=2),
    "bleu_3": partial(_make, "captions", "CocoBleu", order=3),
    "bleu_4": partial(_make, "captions", "CocoBleu", order=4),
    "exact_match": partial(_make, "accuracy", "ExactMatch"),
    "accuracy": partial(_make, "accuracy", "Accuracy"),
}
"""Makers of metrics. ``bleu`` is sacrebleu's, for translations; ``bleu_1`` to ``bleu_4`` are COCO's, for captions."""


def load_metric(name: str, **options: Any) -> ItemMetric:
    """A new metric.

    Args:
        name: a key of `METRICS`.
        options: the metric's own, such as ``tokenize="zh"`` for ``bleu``, and those of `evaluate.Metric`.

    Raises:
        ValueError: there is no such metric.
        TypeError: the metric has no such option.
        ImportError: the metric needs a package that is not installed.
    """
    if name not in METRICS:
        raise ValueError(f"There is no metric {name!r}. Use one of: {', '.join(sorted(METRICS))}.")
    return METRICS[name](**options)


def __getattr__(name: str) -> Any:
    # `evaluate` takes seconds to import, and who only asks for names should not wait for it.
    if name == "ItemMetric":
        return import_module(".base", __name__).ItemMetric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
