"""What was measured under a compression, read from a JSON file: a report of `hf-tokcomp compare`, or plain numbers."""

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

from ..checkpoints import SMALL_MODEL, recordings
from ..config.config import CompressionConfig
from ..messages import did_you_mean, shown
from .names import hub_id

TASK = "audio-text-to-text"
NUMBERS = ("metrics", "before", "uncompressed")
KEYS = ("dataset", "dataset_id", "split", "task", "prompt", *NUMBERS, "note")
RATE = "audio_tokens_per_second"
METRICS = ("wer", "exact_match")
"""The scores in a report of `hf-tokcomp compare`."""


@dataclass(frozen=True)
class Score:
    """One number, with what the uncompressed model, and the compressed one before training, reach if that is known."""

    name: str
    value: float
    uncompressed: float | None = None
    before: float | None = None


@dataclass(frozen=True)
class Measurement:
    """Numbers on one data set.

    Args:
        dataset: its name.
        scores: the numbers.
        dataset_id: its id on the Hub; None for one that is not there.
        split: which part of it.
        task: the Hub's name for the task.
        note: how it was measured, in a line.
        prompt: what was asked about every item; "" where that is not known, or differs.
    """

    dataset: str
    scores: tuple[Score, ...]
    dataset_id: str | None = None
    split: str | None = None
    task: str = TASK
    note: str = ""
    prompt: str = ""

    def results(self) -> list[EvalResult]:
        """As entries of a card's ``model-index``, which holds the compressed model's numbers only."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.dataset.lower()).strip("-") or "data"
        return [
            EvalResult(
                task_type=self.task,
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
    """What a JSON file says about a compression.

    Args:
        path: one of: what ``hf-tokcomp compare --output`` wrote, where the config must be among those compared; an
            object of the keys `KEYS`, such as the ``metrics.json`` of ``hf-tokcomp finetune``, with ``metrics``,
            ``before`` and ``uncompressed`` as names and numbers, or a list of them; names and numbers alone.
        config: the compression.
        dataset: the name of the data set, instead of the file's.
        models: Hub ids of the model that the numbers may be of; empty if any will do. A report that was made with a
            folder is taken to be of it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is none of these; the message says what is wrong.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"There is no file of metrics {file}.")
    try:
        values: Any = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not valid JSON: {error}.") from error
    try:
        if isinstance(values, Mapping) and "cells" in values:
            return [_from_report(values, config, dataset, models)]
        listed = values if isinstance(values, list) else [values]
        if not listed:
            raise ValueError("it is empty")
        return [_from_mapping(each, dataset) for each in listed]
    except (KeyError, TypeError, IndexError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(
            f"{file} is not a whole report of `hf-tokcomp compare`: {type(error).__name__}: {error}."
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
    texts = {key: value for key, value in values.items() if key not in NUMBERS}
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
    scores = tuple(Score(name, value, plain.get(name), before.get(name)) for name, value in metrics.items())
    return Measurement(scores=scores, **{key: " ".join(value.split()) for key, value in texts.items()})


def _numbers(values: Mapping[str, Any], key: str) -> dict[str, float]:
    numbers = values.get(key, {})
    if not isinstance(numbers, Mapping):
        raise ValueError(f"{key} must be an object of names and numbers")
    for name, value in numbers.items():
        # Not `math.inf`: an integer of hundreds of digits is below that, and no number for a card.
        ok = isinstance(value, int | float) and not isinstance(value, bool)
        if not ok or not abs(value) <= sys.float_info.max:
            raise ValueError(f"{key}: {name!r} must be a finite number, not {shown(value)}")
    return dict(numbers)


def _from_report(
    report: Mapping[str, Any], config: CompressionConfig, dataset: str | None, models: Sequence[str]
) -> Measurement:
    model = report["model"]
    if models and hub_id(model) is not None and model not in models:
        raise ValueError(f"it was measured with {model}, and not with {' or '.join(models)}")
    found = [
        (cell, number)
        for cell in report["cells"]
        for number, values in enumerate(cell["compression"])
        if CompressionConfig.from_dict(values) == config
    ]
    if not found:
        compared = dict.fromkeys(_name(cell) for cell in report["cells"])
        raise ValueError(f"this compression is not among those compared: {', '.join(compared)}")
    (cell, number), plain = found[0], report["cells"][0]
    read, seeds = report["recordings"], len(cell["compression"])
    scores = []
    for name in METRICS:
        if name in plain and (name in cell or f"{name}_by_seed" in cell):
            value = cell[f"{name}_by_seed"][number] if seeds > 1 else cell[name]
            scores.append(Score(name, float(value), float(plain[name])))
    seconds = sum(recording["seconds"] for recording in read)
    before = sum(recording["tokens"] for recording in read)
    after = sum(cell["tokens_after"][number])
    scores.append(Score(RATE, round(after / seconds, 2), round(before / seconds, 2)))
    for phase in ("prefill", "decode"):
        if plain["seconds"][phase] > 0:
            spent = cell["seconds"][phase] / seeds / len(read)
            scores.append(Score(f"{phase}_seconds", round(spent, 4), round(plain["seconds"][phase] / len(read), 4)))
    _numbers({"metrics": {score.name: score.value for score in scores}}, "metrics")
    versions = report["versions"]
    note = (
        f"{_model_name(model)}, {len(read)} recordings, {seconds:.0f} s; {report['device']}, {report['dtype']}, "
        f"greedy, batches of {report['batch_size']}; hf_tokcomp {versions['hf_tokcomp']}, transformers "
        f"{versions['transformers']}, torch {versions['torch']}. Texts and truths are compared "
        f"{report['normalisation']}; seconds are the mean of a recording."
    )
    asked = {recording["prompt"] for recording in read}
    prompt = asked.pop() if len(asked) == 1 else ""
    return Measurement(dataset or _dataset(report), tuple(scores), note=note, prompt=prompt)


def _dataset(report: Mapping[str, Any]) -> str:
    """A name for what was read: the manifest's, and never the path to it."""
    if report["manifest"] is not None:
        path = Path(report["manifest"])
        return path.parent.name or path.stem if path.stem == "manifest" else path.stem
    if {recording["audio"] for recording in report["recordings"]} <= {str(path) for path, _ in recordings()}:
        return "the recordings that ship with hf_tokcomp"
    raise ValueError("it does not say what the recordings are: add --dataset NAME")


def _model_name(model: str) -> str:
    """A model's name for others to read: of a folder, its own name without the path."""
    if Path(model) == SMALL_MODEL:
        return "the model that ships with hf_tokcomp"
    return hub_id(model) or Path(model).name


def _name(cell: Mapping[str, Any]) -> str:
    return f"{cell['method']} at {cell['retention_ratio']:g}" + (f" {cell['positions']}" if cell["positions"] else "")
