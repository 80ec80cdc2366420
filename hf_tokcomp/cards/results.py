"""Measurements under a compression, read from a JSON file: results of `eval` and `compare`, or plain numbers."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from ..checkpoints import SMALL_MODEL
from ..config.config import CompressionConfig
from ..messages import did_you_mean, shown
from .names import hub_id

NUMBERS = ("metrics", "before", "uncompressed")
KEYS = ("dataset", "dataset_id", "split", "task", "prompt", *NUMBERS, "units", "note")
UNNAMED = "recordings named one by one"
"""Name in results for recordings without a common name."""
RATE = "audio_tokens_per_second"
NAMES = {"wer_plain": "wer"}
"""The Hub's names of our metrics, where they differ; the note says how texts are compared."""
PERCENT = ("wer", "wer_plain", "words_right", "exact_match", "accuracy")


@dataclass(frozen=True)
class Score:
    """One number, with those of the uncompressed model and of the compressed one before training, if known.

    Args:
        name: name of the metric.
        value: value under the compression.
        uncompressed: value with all tokens.
        before: value under the compression before training.
        unit: unit of all three; "" for a plain number.
    """

    name: str
    value: float
    uncompressed: float | None = None
    before: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Measurement:
    """Numbers on one data set.

    Args:
        dataset: its name.
        scores: the numbers.
        dataset_id: its id on the Hub; None if it is not on the Hub.
        split: the split.
        task: the Hub's name for the task; "" for what the model does.
        note: how it was measured, in one line.
        prompt: the prompt of all items; "" if it is unknown or differs.
    """

    dataset: str
    scores: tuple[Score, ...]
    dataset_id: str | None = None
    split: str | None = None
    task: str = ""
    note: str = ""
    prompt: str = ""

    def results(self, pipeline_tag: str) -> list[EvalResult]:
        """The entries of a card's ``model-index``, which holds only the numbers of the compressed model.

        Args:
            pipeline_tag: the Hub's name for what the model does.
        """
        slug = re.sub(r"[^a-z0-9]+", "-", self.dataset.lower()).strip("-") or "data"
        return [
            EvalResult(
                task_type=self.task or pipeline_tag,
                dataset_type=self.dataset_id or slug,
                dataset_name=self.dataset,
                dataset_split=self.split,
                metric_type=score.name,
                metric_value=score.value,
            )
            for score in self.scores
        ]


def read_measurements(
    path: str | os.PathLike[str], config: CompressionConfig, dataset: str | None = None, models: Sequence[str] = ()
) -> list[Measurement]:
    """The measurements of a compression in a JSON file.

    Args:
        path: one of: the output of ``hf-tokcomp eval`` or ``compare`` (the folder, its ``results.json``, or the file),
            where the config must be among those measured; an object with the keys `KEYS`, such as the ``metrics.json``
            of ``hf-tokcomp finetune``, where ``metrics``, ``before`` and ``uncompressed`` map names to numbers and
            ``units`` maps names to texts, or a list of such objects; a plain mapping of names to numbers.
        config: the compression.
        dataset: the name of the data set, overriding that in the file.
        models: Hub ids of the model that the numbers may belong to; empty for any. A report made with a local folder
            is assumed to match.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has none of these formats; the message says what is wrong.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "results.json"
    if not file.is_file():
        raise FileNotFoundError(f"There is no file of metrics {file}.")
    try:
        values: Any = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not valid JSON: {error}.") from error
    try:
        if isinstance(values, Mapping) and "cells" in values:
            raise ValueError("an earlier version of `hf-tokcomp compare` wrote it: run that command again")
        if isinstance(values, Mapping) and "scores" in values:
            return _from_results(values, config, dataset, models)
        listed = values if isinstance(values, list) else [values]
        if not listed:
            raise ValueError("it is empty")
        return [_from_mapping(each, dataset) for each in listed]
    except (KeyError, TypeError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(
            f"{file} is no whole result of `hf-tokcomp eval` or `compare`: {type(error).__name__}: {error}."
        ) from error
    except ValueError as error:
        raise ValueError(f"{file}: {error}.") from error


def _from_mapping(values: Any, dataset: str | None) -> Measurement:
    if not isinstance(values, Mapping):
        raise ValueError('it must be an object such as {"dataset": "Clotho v2", "metrics": {"wer": 0.059}}')
    if "metrics" not in values:
        values = {"metrics": values}
    for key in values:
        if key not in KEYS:
            raise ValueError(f"{key!r} is not known{did_you_mean(key, KEYS)} Keys: {', '.join(KEYS)}")
    texts = {key: value for key, value in values.items() if key not in (*NUMBERS, "units")}
    if dataset is not None:
        texts["dataset"] = dataset
    for key, value in texts.items():
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"{key} must be a text, not {shown(value)}")
    if "dataset" not in texts:
        raise ValueError('a number says nothing without its data set: add --dataset NAME, or "dataset" in the file')
    metrics, before, plain = (_numbers(values, key) for key in NUMBERS)
    if not metrics:
        raise ValueError("there are no metrics in it")
    for key, others in (("before", before), ("uncompressed", plain)):
        for name in others:
            if name not in metrics:
                raise ValueError(f"{name!r} is in {key} and not in metrics")
    units = values.get("units", {})
    if not isinstance(units, Mapping) or not all(isinstance(unit, str) for unit in units.values()):
        raise ValueError("units must be an object of names and texts")
    scores = tuple(
        Score(name, value, plain.get(name), before.get(name), units.get(name, "")) for name, value in metrics.items()
    )
    return Measurement(scores=scores, **{key: " ".join(value.split()) for key, value in texts.items()})


def _numbers(values: Mapping[str, Any], key: str) -> dict[str, float]:
    numbers = values.get(key, {})
    if not isinstance(numbers, Mapping):
        raise ValueError(f"{key} must be an object of names and numbers")
    for name, value in numbers.items():
        # Not `math.inf`: an integer with hundreds of digits is below it, but does not belong on a card.
        ok = isinstance(value, int | float) and not isinstance(value, bool)
        if not ok or not abs(value) <= sys.float_info.max:
            raise ValueError(f"{key}: {name!r} must be a finite number, not {shown(value)}")
    return dict(numbers)


def _from_results(
    results: Mapping[str, Any], config: CompressionConfig, dataset: str | None, models: Sequence[str]
) -> list[Measurement]:
    """A measurement for every task, and for every part of a task, in the results."""
    model = results["model"]
    if models and hub_id(model) is not None and model not in models:
        raise ValueError(f"it was measured with {model}, and not with {' or '.join(models)}")
    runs = results["runs"]
    found = [key for key, run in runs.items() if CompressionConfig.from_dict(run["config"]) == config]
    if not found:
        raise ValueError(f"this compression is not among those measured: {', '.join(runs)}")
    key = found[0]
    if dataset is not None and len(results["tasks"]) > 1:
        raise ValueError(f"--dataset names one data set, and {', '.join(results['tasks'])} were measured: leave it out")
    measured = []
    for task in results["tasks"]:
        costs = {cost["run"]: cost for cost in results["costs"] if cost["task"] == task}
        scores = [each for each in results["scores"] if each["task"] == task]
        for subset in dict.fromkeys([*(each["subset"] for each in scores)] or [""]):
            numbers = [
                *_scores([each for each in scores if each["subset"] == subset], runs, key),
                *([] if subset else _spent(results["tasks"][task], costs[key], costs["none@1"])),
            ]
            _numbers({"metrics": {score.name: score.value for score in numbers}}, "metrics")
            measured.append(_measurement(results, task, subset, tuple(numbers), dataset))
    return measured


def _scores(scores: Sequence[Mapping[str, Any]], runs: Mapping[str, Any], key: str) -> list[Score]:
    """The values of the run and those of `none`, for one part of a task."""
    run = runs[key]
    several = [name for name, other in runs.items() if _cell(other) == _cell(run)]
    found = []
    for each in scores:
        if _cell(each) != _cell(run):
            continue
        value = each["by_seed"][several.index(key)] if len(several) > 1 and each["by_seed"] else each["value"]
        plain = next(other["value"] for other in scores if _is_none(other) and other["metric"] == each["metric"])
        unit = "%" if each["metric"] in PERCENT else ""
        found.append(Score(NAMES.get(each["metric"], each["metric"]), _rounded(value), _rounded(plain), None, unit))
    return found


def _spent(task: Mapping[str, Any], cost: Mapping[str, Any], plain: Mapping[str, Any]) -> list[Score]:
    """Audio tokens per second and, if measured, seconds, averaged over items."""
    found = []
    if task.get("seconds"):
        rates = (round(each["tokens_after"] / task["seconds"], 2) for each in (cost, plain))
        found.append(Score(RATE, *rates))
    for phase in ("prefill_seconds", "decode_seconds", "speech_seconds"):
        if cost.get(phase) and plain.get(phase):
            found.append(Score(phase, *(round(each[phase] / each["items"], 4) for each in (cost, plain))))
    return found


def _measurement(
    results: Mapping[str, Any], name: str, subset: str, scores: tuple[Score, ...], dataset: str | None
) -> Measurement:
    task, session, by = results["tasks"][name], results["sessions"][-1], results["measured_by"]["metrics"][name]
    called = dataset or task.get("title") or task["dataset"]
    if called == UNNAMED:
        raise ValueError("it does not say what the recordings are: add --dataset NAME")
    seconds = f", {task['seconds']:.0f} s" if task.get("seconds") else ""
    normalisers = sorted({settings["normaliser"] for settings in by.values() if "normaliser" in settings})
    compared = f" Texts and truths are compared {' and '.join(normalisers)}." if normalisers else ""
    heard = "; speech written down by {asr_model} in {language!r}".format(**task["speech"]) if "speech" in task else ""
    timed = "; seconds are the mean of an item" if any(score.name == "prefill_seconds" for score in scores) else ""
    note = (
        f"{_model_name(results['model'])}, {task['items']} items{seconds}; {session['device']}, {results['dtype']}, "
        f"greedy, batches of {session['batch_size']}; hf_tokcomp {session['hf_tokcomp']}, transformers "
        f"{session['transformers']}, torch {session['torch']}{heard}{timed}.{compared}"
    )
    prompt = task["prompt"] if "{" not in task["prompt"] else ""
    return Measurement(called, scores, split=task["part"] or subset or None, note=note, prompt=prompt)


def _cell(each: Mapping[str, Any]) -> tuple[Any, ...]:
    return each["method"], each["ratio"], each["positions"]


def _is_none(each: Mapping[str, Any]) -> bool:
    return bool(each["method"] == "none" and each["positions"] is None)


def _rounded(value: float | None) -> float:
    if value is None:
        raise ValueError("a score is no number, as of a table whose truths have no words")
    return round(float(value), 4)


def _model_name(model: str) -> str:
    """A model's name as shown to others: for a folder, its name without the path."""
    if model in (SMALL_MODEL.name, str(SMALL_MODEL)):
        return "the model that ships with hf_tokcomp"
    return hub_id(model) or Path(model).name
