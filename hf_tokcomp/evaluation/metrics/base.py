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
    """A metric defined by statistics for each item and a value computed from their sums.

    The score of any subset of items is the value of the sum of its rows, and a bootstrap is one matrix product:

        statistics = metric.statistics(predictions, references)  # (items, k)
        metric.value(statistics.sum(axis=0))  # the score
        metric.value(weights @ statistics)  # one score for each row of (resamples, items)

    Scoring this way writes nothing to disk. `compute` is that of `evaluate.Metric`; it keeps its inputs in memory and
    uses the cache only when necessary: with ``num_process`` above 1, or ``keep_in_memory=False``.

    Subclasses set the attributes and override `_statistics`, `value` and `settings`.

    Args:
        options: those of `evaluate.Metric`, such as ``cache_dir``, ``num_process`` and ``process_id``.

    Raises:
        TypeError: neither the metric nor `evaluate.Metric` has such an option.
    """

    name: str = ""
    """The key in `METRICS` and in the result of `compute`."""
    unit: str = ""
    """The unit of `value`: "%" if it is already a percentage, "" if it is a plain number."""
    higher_is_better: bool = True
    heard: bool = False
    """Whether it compares what was heard in a spoken answer rather than the answer's text."""
    highest: float = math.inf
    """The largest possible value; the smallest is 0. Estimated intervals over few items may exceed these bounds."""

    def __init__(self, **options: Any) -> None:
        # evaluate.Metric accepts and ignores any keyword, so a misspelled one would silently have no effect.
        known = inspect.signature(evaluate.EvaluationModule.__init__).parameters
        if unknown := sorted(set(options) - set(known)):
            raise TypeError(f"{type(self).__name__} has no option {', '.join(unknown)}.")
        options.setdefault("keep_in_memory", options.get("num_process", 1) == 1)
        super().__init__(**options)

    def statistics(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
        """Compute the statistics of each item, from which the score is computed.

        Args:
            predictions: one text for each item.
            references: for each item, one or more right texts.

        Returns:
            float64 array of shape ``(items, k)``; the meaning of the columns depends on the metric.

        Raises:
            ValueError: there are no items, predictions and references differ in number, an item has no reference, or
                its references are a string instead of a list.
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
        """`statistics` for inputs already checked: anything that numpy converts to shape ``(items, k)``."""

    @abstractmethod
    def value(self, sums: Array) -> Array:
        """The score, in `unit`.

        Args:
            sums: ``(..., k)``, statistics summed over items, with any weights.

        Returns:
            ``(...)``; nan where the score is undefined, such as an error rate over zero words.
        """

    @property
    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Everything that affects the score, to be published with it: text normaliser, library, version."""

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
        # evaluate creates this folder with the metric; here it is created only when something is written.
        return os.path.join(self._data_dir_root, self.name, self.config_name)

    def _init_writer(self, timeout: float = 1) -> None:
        if not self.keep_in_memory:
            os.makedirs(self.data_dir, exist_ok=True)
        super()._init_writer(timeout)


def ratio(numerator: Array, denominator: Array) -> Array:
    """The elementwise quotient of two arrays of the same shape; nan where the denominator is not above 0."""
    undefined = np.full(np.shape(denominator), np.nan)
    quotient: Array = np.divide(numerator, denominator, out=undefined, where=np.asarray(denominator) > 0)
    return quotient
