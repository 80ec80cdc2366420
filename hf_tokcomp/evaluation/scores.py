"""`score`: compute scores with intervals from answers, for every task, subset, method, ratio and kind of positions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import nan
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .asked import Asked
from .bootstrap import interval, paired_difference
from .journal import Given, Key
from .metrics import load_metric
from .metrics.choices import is_string_match, most_similar
from .options import without_letter
from .plan import NONE, Run, by_cell
from .score import Score
from .task import Item

if TYPE_CHECKING:
    from .metrics import ItemMetric

ChoiceScoring = Literal["string_match", "similarity", "likelihood"]
WHOLE = ""
"""The name of the only part of an undivided task."""


def score(
    asked: Sequence[Asked],
    runs: Sequence[Run],
    answers: Mapping[Key, Given],
    scoring: ChoiceScoring = "string_match",
    resamples: int = 1000,
    similarity_model: str | None = None,
) -> list[Score]:
    """Compute all scores of a sweep; tasks without known answers have none.

    Args:
        asked: the tasks.
        runs: the configs.
        answers: the answers in the journal.
        scoring: how the chosen option is found in a written answer; unused for tasks answered by likelihood.
        resamples: number of bootstrap resamples.
        similarity_model: a Sentence-BERT model for ``"similarity"``.

    Raises:
        ValueError: an answer is missing.
        ImportError: a metric needs a library that is not installed.
    """
    found: list[Score] = []
    for task in asked:
        cells = by_cell(runs)
        given = {run.key: _of(task, run, answers) for run in runs}
        written = {key: _predictions(task, row, scoring, similarity_model) for key, row in given.items()}
        heard = {key: _heard(task, row) for key, row in given.items()} if task.transcriber is not None else {}
        shares = {key: np.array([_shares(each) for each in row]) for key, row in given.items()}
        for subset, places in _parts(task):
            items = [task.items.items[place] for place in places]
            for key in task.task.metrics:
                metric = load_metric(key, **task.task.metric_options.get(key, {}))
                measured = _Measured(metric, items, places, heard if metric.heard else written, resamples)
                for (method, ratio, positions), several in cells.items():
                    numbers = measured.numbers(several)
                    kept, cut, wanted = np.mean([shares[run.key][places] for run in several], axis=(0, 1)).tolist()
                    head = (task.task.name, subset, key, method, ratio, positions)
                    found.append(Score(*head, **numbers, items=len(items), kept=kept, unfinished=cut, asked=wanted))
    return found


class Differences:
    """Score differences between runs in a task's first metric, on the same items.

    The statistics of each run are cached for use in further pairs.

    Args:
        task: the task.
        answers, scoring, resamples: as for `score`; ``"similarity"`` is not supported.
    """

    def __init__(
        self,
        task: Asked,
        answers: Mapping[Key, Given],
        scoring: ChoiceScoring = "string_match",
        resamples: int = 1000,
    ) -> None:
        key = task.task.metrics[0]
        self.metric = load_metric(key, **task.task.metric_options.get(key, {}))
        self.task, self.answers, self.scoring, self.resamples = task, answers, scoring, resamples
        self.clusters = [item.recordings for item in task.items.items]
        self._references = [list(item.references) for item in task.items.items]
        self._statistics: dict[str, Any] = {}

    def between(self, runs: Sequence[Run], others: Sequence[Run]) -> tuple[float, float, float]:
        """The difference and its 95 % interval.

        Args:
            runs: the run of one config, or its runs for several seeds.
            others: the same for the config to compare with.

        Raises:
            ValueError: an answer is missing.
        """
        one, other = (np.mean([self._of(run) for run in several], axis=0) for several in (runs, others))
        return paired_difference(one, other, self.clusters, self.metric.value, resamples=self.resamples)

    def _of(self, run: Run) -> Any:
        if run.key not in self._statistics:
            given = _of(self.task, run, self.answers)
            heard = self.metric.heard
            texts = _heard(self.task, given) if heard else _predictions(self.task, given, self.scoring, None)
            self._statistics[run.key] = self.metric.statistics(texts, self._references)
        return self._statistics[run.key]


class _Measured:
    """One metric on one part of a task: the statistics of every run, and scores computed from them."""

    def __init__(
        self,
        metric: ItemMetric,
        items: Sequence[Item],
        places: Sequence[int],
        predictions: Mapping[str, Sequence[str]],
        resamples: int,
    ) -> None:
        self.value: Callable[[Any], Any] = metric.value
        self.highest = metric.highest
        self.clusters = [item.recordings for item in items]
        self.resamples = resamples
        references = [list(item.references) for item in items]
        self.statistics = {
            key: metric.statistics([texts[place] for place in places], references) for key, texts in predictions.items()
        }

    def numbers(self, runs: Sequence[Run]) -> dict[str, Any]:
        """Value, interval, difference from `none`, its interval, and values by seed, keyed by the names in `Score`."""
        each = [self.statistics[run.key] for run in runs]
        # Average over seeds per item: seeds are not additional recordings and must not narrow the interval as such.
        mean = np.mean(each, axis=0)
        low, high = interval(mean, self.clusters, self.value, resamples=self.resamples)
        none = self.statistics[NONE.key]
        less, less_low, less_high = paired_difference(mean, none, self.clusters, self.value, resamples=self.resamples)
        by_seed = tuple(float(self.value(one.sum(0))) for one in each) if len(each) > 1 else ()
        return {
            "value": float(self.value(mean.sum(0))),
            # Weights may be negative, so a small number of items with few errors can yield a bound below 0.
            "low": float(np.clip(low, 0, self.highest)),
            "high": float(np.clip(high, 0, self.highest)),
            "difference": less,
            "difference_low": less_low,
            "difference_high": less_high,
            "by_seed": by_seed,
        }


def _shares(given: Given) -> tuple[float, bool, float]:
    """The fraction of tokens kept, whether the answer was cut off, and the budgeted fraction (nan without a budget).

    Of a model that also reads padding, the fractions are those of the sound, as budgets are.
    """
    behind, left = given.padding
    before = max(given.tokens_before - behind, 1)
    asked = nan if given.tokens_asked is None else (given.tokens_asked - left) / before
    return (given.tokens_after - left) / before, not given.finished, asked


def _of(task: Asked, run: Run, answers: Mapping[Key, Given]) -> list[Given]:
    found = []
    for item in task.items.items:
        key = (task.task.name, item.id, run.key)
        if key not in answers:
            raise ValueError(f"There is no answer to {task.task.name}, item {item.id}, under {run.key}: go on with it.")
        found.append(answers[key])
    return found


def _predictions(
    task: Asked, answers: Sequence[Given], scoring: ChoiceScoring, similarity_model: str | None
) -> list[str]:
    """The answers in the form the metric compares; for multiple choice, the selected option."""
    items, written = task.items.items, [given.text for given in answers]
    if task.task.kind != "multiple_choice" or task.by_likelihood:
        return written
    if scoring == "similarity":
        places = most_similar(written, [list(item.choices) for item in items], model=similarity_model)
        return [item.choices[place] for item, place in zip(items, places, strict=True)]
    return [
        item.references[0]
        if is_string_match(without_letter(text, item.choices), item.references[0], item.choices)
        else ""
        for item, text in zip(items, written, strict=True)
    ]


def _heard(task: Asked, answers: Sequence[Given]) -> list[str]:
    """The transcripts of the spoken answers.

    Raises:
        ValueError: an answer has none.
    """
    silent = [given.item for given in answers if given.transcript is None]
    if silent:
        raise ValueError(f"The answer to {task.task.name}, item {silent[0]}, has no transcript: name another folder.")
    return [str(given.transcript) for given in answers]


def _parts(task: Asked) -> list[tuple[str, list[int]]]:
    """The parts of a task with the indices of their items; the whole task first, unless only its subsets are scored.

    Items without a known answer belong to no part.
    """
    parts: dict[str, list[int]] = {}
    known = [place for place, item in enumerate(task.items.items) if item.references]
    for place in known:
        parts.setdefault(task.items.items[place].subset, []).append(place)
    named = [(name, parts[name]) for name in (task.task.subsets or sorted(parts)) if name and name in parts]
    return named if task.task.subsets or not known else [(WHOLE, known), *named]
