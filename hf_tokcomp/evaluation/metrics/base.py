"""`ItemMetric`: a metric that is a function of sums over items, and a Hugging Face `evaluate.Metric`."""

from __future__ import annotations

import inspect
import math
import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ItemMetric(evaluate.Metric):  # type: ignore[misc]
    """A metric made of statistics for each item and a value from their sums.

    The score of any subset of the items is the value of the sum of its rows, and a bootstrap is one matrix product:

        statistics = metric.statistics(predictions, references)  # (items, k)
        metric.value(statistics.sum(axis=0))  # the score
        metric.value(weights @ statistics)  # one score for each row of (resamples, items)

    Scoring this way writes nothing to disk. `compute` is that of `evaluate.Metric`; it keeps its inputs in memory, and
    uses the cache only where it must: with ``num_process`` above 1, or ``keep_in_memory=False``.

    A subclass sets the attributes and overrides `_statistics`, `value` and `settings`.

    Args:
        options: those of `evaluate.Metric`, such as ``cache_dir``, ``num_process`` and ``process_id``.

    Raises:
        TypeError: an option that neither the metric nor `evaluate.Metric` has.
    """

    name: str = ""
    """The key in `METRICS` and in what `compute` returns."""
    unit: str = ""
    """The unit of `value`: "%" where it is a percentage already, "" where it is a bare number."""
    higher_is_better: bool = True
    highest: float = math.inf
    """The largest value there can be; the smallest is 0. Intervals of few items may be estimated beyond them."""

    def __init__(self, **options: Any) -> None:
        # evaluate.Metric takes any keyword and forgets it, so that a misspelt one would change nothing in silence.
        known = inspect.signature(evaluate.EvaluationModule.__init__).parameters
        if unknown := sorted(set(options) - set(known)):
            raise TypeError(f"{type(self).__name__} has no option {', '.join(unknown)}.")
        options.setdefault("keep_in_memory", options.get("num_process", 1) == 1)
        super().__init__(**options)

    def statistics(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
        """What the score is made of, for each item.

        Args:
            predictions: one text for each item.
            references: for each item, one or several texts that would be right.

        Returns:
            float64 of shape ``(items, k)``; what the columns are is up to the metric.

        Raises:
            ValueError: no items, not one list of references for each prediction, an item without a reference, or a
                text in place of a list of them.
        """
        if len(predictions) == 0:
            raise ValueError(f"There is nothing to score with {self.name}: give at least one prediction.")
        if len(predictions) != len(references):
            raise ValueError(
                f"There are {len(predictions)} predictions and {len(references)} lists of references; "
                "there must be one list for each prediction."
            )
        for item, texts in enumerate(references):
            if isinstance(texts, str):
                raise ValueError(f"The references of item {item} are a text; give a list of texts: [{texts!r}].")
            if len(texts) == 0:
                raise ValueError(f"Item {item} has no reference; leave it out, or give it at least one.")
        return np.asarray(self._statistics(predictions, references), dtype=np.float64)

    @abstractmethod
    def _statistics(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Any:
        """`statistics`, of inputs that are checked: anything that numpy makes ``(items, k)`` of."""

    @abstractmethod
    def value(self, sums: Array) -> Array:
        """The score, in `unit`.

        Args:
            sums: ``(..., k)``, statistics summed over items, each with any weight.

        Returns:
            ``(...)``; nan where the score is not defined, such as errors of no words.
        """

    @property
    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Everything that decides about the number, for what is published with it: texts' normaliser, library,
        version."""

    def _info(self) -> evaluate.MetricInfo:
        texts = datasets.Value("string")
        return evaluate.MetricInfo(
            description=inspect.getdoc(type(self)) or "",
            citation="",
            inputs_description="",
            features=datasets.Features({"predictions": texts, "references": datasets.Sequence(texts)}),
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
        return {self.name: float(self.value(self.statistics(predictions, references).sum(axis=0)))}

    def _build_data_dir(self) -> str:
        # evaluate makes this folder as soon as a metric exists; ours waits until something is written.
        return os.path.join(self._data_dir_root, self.name, self.config_name)

    def _init_writer(self, timeout: float = 1) -> None:
        if not self.keep_in_memory:
            os.makedirs(self.data_dir, exist_ok=True)
        super()._init_writer(timeout)


def ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient, of any one shape; nan where the denominator is not above 0."""
    undefined = np.full(np.shape(denominator), np.nan)
    quotient: Array = np.divide(numerator, denominator, out=undefined, where=np.asarray(denominator) > 0)
    return quotient
