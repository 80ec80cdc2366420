"""docs/results.md: its tables are made of the evidence, which is whole and of the weights that ship."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from places import ROOT

from hf_tokcomp.checkpoints import SMALL_MODEL
from hf_tokcomp.evaluation.plan import plan
from hf_tokcomp.evaluation.score import Score, read_scores
from hf_tokcomp.evaluation.tables import markdown
from hf_tokcomp.evaluation.tasks import get_task
from hf_tokcomp.reporting.environment import weights_digest
from hf_tokcomp.reporting.pages import END
from recipes import quality
from recipes.small_model.evaluate import load

SHORT_TABLE = re.compile(r"^\| (`[^|]*) \| ([\d./ ]+) \| ([\d./ ]+) \| ([\d./ ]+) \|$", re.MULTILINE)
COLUMNS = [("digits", "wer_plain", 1), ("sound_captions", "exact_match", 0), ("sound_choices", "accuracy", 0)]
"""Of the tables of some methods: task, metric, digits behind the point."""
EVIDENCE = ROOT / "docs" / "evidence" / "results" / "results.json"


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def scores() -> list[Score]:
    return read_scores(EVIDENCE)


def test_the_tables_are_made_of_the_evidence(results: dict[str, Any], scores: list[Score]) -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    inside = page.partition(quality.BEGIN)[2].partition(END)[0]
    data = {}
    for name, task in results["tasks"].items():
        own = task["prompt"] == "{question}"
        asked = "each asked its own question" if own else f"asked “{task['prompt']}”"
        data[name] = f" of {task['dataset']}, {asked}"
    assert markdown(scores, titles={name: get_task(name).title for name in quality.TASKS}, data=data) in inside


@pytest.mark.parametrize(("page", "least"), [("README.md", 6), ("docs/results.md", 11)])
def test_the_tables_of_some_methods_say_what_the_evidence_says(scores: list[Score], page: str, least: int) -> None:
    cell = {
        (each.task, each.metric, each.method, each.ratio): each.value
        for each in scores
        if each.positions in (None, "original") and not each.subset
    }
    rows = SHORT_TABLE.findall((ROOT / page).read_text(encoding="utf-8"))
    assert len(rows) >= least
    for label, *written in rows:
        method = ":".join(re.findall("`([^`]+)`", label)).replace('"', "")
        ratios = [1.0] if "all tokens" in label else [1 / 2, 1 / 4, 1 / 10]
        for (task, metric, digits), texts in zip(COLUMNS, written, strict=True):
            values = [cell[task, metric, method, ratio] for ratio in ratios]
            assert [f"{value:.{digits}f}" for value in values] == texts.strip().split(" / "), (label, task)


def test_the_evidence_is_of_the_weights_that_ship(results: dict[str, Any]) -> None:
    assert results["weights"] == weights_digest(load(SMALL_MODEL)[0])


def test_both_kinds_of_positions_and_three_ratios_are_asked_for() -> None:
    assert quality.COMPRESSIONS[0] == "all"
    assert set(quality.RATIOS) == {1.0, 1 / 2, 1 / 4, 1 / 10}
    assert set(quality.POSITIONS) == {"contiguous", "original"}


def test_every_method_is_there_at_every_ratio_on_every_task(results: dict[str, Any], scores: list[Score]) -> None:
    runs, left_out = plan(quality.COMPRESSIONS, quality.RATIOS, quality.POSITIONS, 3)
    assert results["measured_by"]["left_out"] == left_out
    assert {run.key for run in runs} == set(results["runs"])
    cells = {(run.method, run.ratio, run.positions) for run in runs}
    for task in quality.TASKS:
        found = [each for each in scores if each.task == task]
        assert cells <= {(each.method, each.ratio, each.positions) for each in found}
        assert all(each.items >= 500 for each in found)
        assert all(len(each.by_seed) == 3 for each in found if each.method == "random")
