"""`ResultFolder`: a sweep's settings, answers and results in a folder, from which a second start can resume."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config.config import CompressionConfig
from ..hub.whole_files import write_whole
from ..messages import shown
from .asked import Asked
from .costs import Cost
from .plan import Run
from .score import Score
from .tables import as_csv

logger = logging.getLogger(__name__)

SETTINGS = "sweep.json"
RESULTS = "results.json"
TABLES = "results.md"
LINES = "results.csv"
ADDED = ("tasks", "runs")
"""Settings that a later start may extend."""
TOLD = ("title", "seconds")
"""Task fields that are only informative: the digest says more, and folders of earlier versions lack them."""
WATCHED = ("hf_tokcomp", "transformers", "torch", "device", "batch_size")
"""Environment values that may change between starts and may then cause small differences."""


class ResultFolder:
    """The folder of a sweep.

    Args:
        path: created if it does not exist; None to write nothing at all.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._settings: dict[str, Any] = {}

    def begin(self, settings: Mapping[str, Any], runs: Sequence[Run], environment: Mapping[str, Any]) -> None:
        """Record the settings, or check that they match those of the answers already in the folder.

        Methods, ratios and tasks may be added; anything an answer depends on may not change.

        Args:
            settings: ``model``, ``dtype``, ``tasks`` by name, and everything else that answers depend on.
            runs: the configs.
            environment: versions and machine of this start.

        Raises:
            ValueError: an earlier start used different settings; the message names the differences.
        """
        now: dict[str, Any] = {**settings, "runs": {run.key: _described(run) for run in runs}}
        sessions: list[Any] = []
        if self.path is None:
            self._settings = now | {"sessions": [dict(environment)]}
            return
        file = self.path / SETTINGS
        if file.is_file():
            before = json.loads(file.read_text(encoding="utf-8"))
            self._compare(before, now)
            sessions = before["sessions"]
            now |= {name: before[name] | now[name] for name in ADDED}
            self._warn(sessions, environment)
        elif self.path.is_dir() and any(not path.name.endswith(".part") for path in self.path.iterdir()):
            raise ValueError(f"{self.path} holds other files and no {SETTINGS}; name an empty or a new folder.")
        self.path.mkdir(parents=True, exist_ok=True)
        self._settings = now | {"sessions": [*sessions, dict(environment)]}
        write_whole(file, _json(self._settings))

    def _compare(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        pairs = [(key, before.get(key), now[key]) for key in now if key not in ADDED]
        for name, task in now["tasks"].items():
            earlier = before["tasks"].get(name)
            named = [key for key in task if key not in TOLD]
            pairs += [] if earlier is None else [(f"{name}: {key}", earlier.get(key), task[key]) for key in named]
        for key, run in now["runs"].items():
            pairs += [(key, before["runs"][key]["config"], run["config"])] if key in before["runs"] else []
        for key, old, new in pairs:
            if old != new:
                raise ValueError(
                    f"{self.path} holds answers to something else: {key} was {shown(old)} and is {shown(new)}. "
                    "Go on with the same settings, or name another folder with --output."
                )

    def _warn(self, sessions: Sequence[Mapping[str, Any]], environment: Mapping[str, Any]) -> None:
        for name in WATCHED:
            earlier = sorted({str(session.get(name)) for session in sessions} - {str(environment.get(name))})
            if earlier:
                logger.warning(
                    "Answers in %s were given with %s %s; now it is %s, which may change a few.",
                    *(self.path, name, " and ".join(earlier), environment.get(name)),
                )

    def runs(self) -> list[Run]:
        """The runs of all starts so far."""
        return [
            Run(**{**values, "config": CompressionConfig.from_dict(values["config"])})
            for values in self._settings["runs"].values()
        ]

    def finish(
        self, scores: Sequence[Score], costs: Sequence[Cost], text: str, measured_by: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write the results as JSON and CSV, and the text of the tables.

        Args:
            scores: all scores.
            costs: the costs of all tasks and runs.
            text: the tables.
            measured_by: everything besides the answers that determines the scores: settings of metrics and intervals.

        Returns:
            The contents of the result file.
        """
        values: dict[str, Any] = _without_nan(
            {
                **self._settings,
                "measured_by": dict(measured_by),
                "scores": [asdict(each) for each in scores],
                "costs": [each.to_dict() for each in costs],
            }
        )
        if self.path is not None:
            write_whole(self.path / RESULTS, _json(values))
            write_whole(self.path / LINES, as_csv(scores))
            write_whole(self.path / TABLES, text + "\n")
        return values


def write_results(file: Path, values: Mapping[str, Any]) -> None:
    """Write the values that `ResultFolder.finish` returned to a separate file.

    Raises:
        OSError: the file cannot be written; no partial file is left.
    """
    write_whole(file, _json(values))


def described_task(asked: Asked) -> dict[str, Any]:
    """Everything the answers to a task depend on, for the folder."""
    spoken = {} if asked.transcriber is None else {"speech": asked.transcriber.settings()}
    return {
        "title": asked.task.title,
        "dataset": asked.items.dataset,
        "part": asked.items.part,
        "items": len(asked.items.items),
        "seconds": asked.items.seconds,
        "skipped": asked.items.skipped,
        "cut": asked.cut,
        "digest": asked.items.digest,
        "prompt": asked.prompt,
        "max_new_tokens": asked.max_new_tokens,
        "by_likelihood": asked.by_likelihood,
        **spoken,
    }


def _described(run: Run) -> dict[str, Any]:
    config = {name: value for name, value in run.config.to_dict().items() if name != "hf_tokcomp_version"}
    return {**{name: getattr(run, name) for name in ("method", "ratio", "positions", "seed")}, "config": config}


def _json(values: Any) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _without_nan(value: Any) -> Any:
    """The value, with None in place of numbers that JSON cannot represent."""
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
