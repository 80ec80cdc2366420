"""ResultFolder: what a sweep is asked for, its answers and results, in a folder that a second start goes on with."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..plain import shown
from .plan import Run
from .published import published_for
from .scores import Score
from .sweep import Asked
from .tables import as_csv, markdown

SETTINGS = "sweep.json"
RESULTS = "results.json"
TABLES = "results.md"
LINES = "results.csv"


class ResultFolder:
    """A sweep's folder.

    Args:
        path: made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, settings: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Write down what is asked for, or make sure that it is what the folder's answers were given to.

        Methods, ratios and tasks may be added; what an answer depends on may not change.

        Args:
            settings: ``model``, ``dtype``, ``tasks`` by name, and whatever else answers depend on.
            environment: of this start: versions, machine.

        Raises:
            ValueError: an earlier start asked for something else; what differs is named.
        """
        file = self.path / SETTINGS
        sessions: list[Any] = []
        tasks = dict(settings["tasks"])
        if file.is_file():
            before = json.loads(file.read_text(encoding="utf-8"))
            sessions = before["sessions"]
            self._compare(before, settings)
            tasks = before["tasks"] | tasks
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise ValueError(f"{self.path} holds other files and no {SETTINGS}; name an empty or a new folder.")
        self.path.mkdir(parents=True, exist_ok=True)
        values = {**settings, "tasks": tasks, "sessions": [*sessions, dict(environment)]}
        _replace(file, json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    def _compare(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        pairs = [(key, before.get(key), now[key]) for key in now if key != "tasks"]
        for name, task in now["tasks"].items():
            earlier = before["tasks"].get(name)
            pairs += [] if earlier is None else [(f"{name}: {key}", earlier.get(key), task[key]) for key in task]
        for key, old, new in pairs:
            if old != new:
                raise ValueError(
                    f"{self.path} holds answers to something else: {key} was {shown(old)} and is {shown(new)}. "
                    "Go on with the same settings, or name another folder with --output."
                )

    def finish(
        self, scores: Sequence[Score], asked: Sequence[Asked], runs: Sequence[Run], metrics: Mapping[str, Any]
    ) -> str:
        """Write the results as JSON, CSV and Markdown, and return the last.

        Args:
            scores: all numbers.
            asked: the tasks.
            runs: the configs.
            metrics: what decides about each metric's number, by its key.
        """
        settings = json.loads((self.path / SETTINGS).read_text(encoding="utf-8"))
        titles = {task.task.name: task.task.title for task in asked}
        text = markdown(scores, published_for(settings["model"]), titles)
        notes = [f"{task.task.title}: {task.task.note}" for task in asked if task.task.note]
        values = {
            **settings,
            "metrics": dict(metrics),
            "runs": {run.key: run.config.to_dict() for run in runs},
            "scores": [_without_nan(asdict(each)) for each in scores],
        }
        _replace(self.path / RESULTS, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
        _replace(self.path / LINES, as_csv(scores))
        whole = "\n\n".join([text, *notes])
        _replace(self.path / TABLES, whole + "\n")
        return whole


def read_scores(file: Path) -> list[Score]:
    """The scores in a ``results.json``, as they were before they were written."""
    found = []
    for values in json.loads(file.read_text(encoding="utf-8"))["scores"]:
        numbers = {
            name: math.nan if v is None and name not in ("ratio", "positions") else v for name, v in values.items()
        }
        found.append(Score(**numbers | {"by_seed": tuple(values["by_seed"])}))
    return found


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """The values with None for nan, which JSON does not have."""
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in values.items()}


def _replace(file: Path, text: str) -> None:
    """Write a file whole or not at all: a reader never sees half of it."""
    part = file.with_name(f".{file.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)
