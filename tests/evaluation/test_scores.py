"""From answers to numbers: by hand, over seeds and parts, and tables, CSV and pictures with just these numbers."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from hf_tokcomp.evaluation.asked import Asked
from hf_tokcomp.evaluation.bootstrap import interval
from hf_tokcomp.evaluation.costs import Cost
from hf_tokcomp.evaluation.folder import ResultFolder
from hf_tokcomp.evaluation.items import Items
from hf_tokcomp.evaluation.journal import Given
from hf_tokcomp.evaluation.plan import NONE, plan
from hf_tokcomp.evaluation.published import PUBLISHED, published_for
from hf_tokcomp.evaluation.score import Score, read_scores
from hf_tokcomp.evaluation.scores import score
from hf_tokcomp.evaluation.tables import as_csv, markdown, report
from hf_tokcomp.evaluation.task import Item, Task

EMPTY = datasets.Dataset.from_dict({"audio": []})


def asked(task: Task, *items: Item) -> Asked:
    return Asked(task, Items(list(items), EMPTY, [], [], "here"), [], 8)


def answers(task: str, texts: dict[str, list[str]], before: int = 10, after: int = 5) -> dict[Any, Given]:
    found = {}
    for run, several in texts.items():
        for place, text in enumerate(several):
            given = Given(task, str(place), run, text, before, before if run == NONE.key else after)
            found[given.key] = given
    return found


DIGITS = Task("digits", "Digits", "asr", ("wer_plain", "exact_match"), {"": "Go."})
STRINGS = (
    Item("0", "", ("one two three",), recordings=("a", "b")),
    Item("1", "", ("four",), recordings=("c",)),
)


def test_values_differences_and_tokens() -> None:
    runs, _ = plan(["stride"], [0.5], [], 1)
    found = score(
        [asked(DIGITS, *STRINGS)],
        runs,
        answers("digits", {"none@1": ["one two three", "for"], "stride@0.5/contiguous": ["one two", "five six"]}),
    )
    by = {(each.metric, each.method): each for each in found}
    assert by["wer_plain", "none"].value == pytest.approx(100 * 1 / 4)
    assert by["wer_plain", "stride"].value == pytest.approx(100 * 3 / 4)
    assert by["wer_plain", "stride"].difference == pytest.approx(50)
    assert by["wer_plain", "none"].difference == by["wer_plain", "none"].difference_low == 0
    assert by["exact_match", "none"].value == 50
    assert (by["wer_plain", "none"].kept, by["wer_plain", "stride"].kept) == (1, 0.5)
    assert {each.items for each in found} == {2}
    for each in found:
        assert each.low <= each.value <= each.high


def test_shares_are_those_of_the_sound_where_padding_is_read() -> None:
    """Of 100 tokens 60 are padding, of which 10 are left; half of the sound is asked for, and 16 of 40 are kept."""
    runs, _ = plan(["stride"], [0.5], [], 1)
    given = answers("digits", {run.key: ["one two three", "four"] for run in runs}, before=100, after=26)
    given = {
        key: each if each.run == NONE.key else replace(each, padding=(60, 10), tokens_asked=30)
        for key, each in given.items()
    }
    found = {each.method: each for each in score([asked(DIGITS, *STRINGS)], runs, given)}
    assert (found["none"].kept, found["stride"].kept, found["stride"].asked) == (1, 0.4, 0.5)
    text = report(list(found.values()), [asked(DIGITS, *STRINGS)], "m", {"metrics": {"digits": {}}})
    assert "`stride` kept 40 % at 1/2" in text


def test_seeds_are_averaged_and_do_not_narrow_the_interval() -> None:
    runs, _ = plan(["random"], [0.5], ["original"], 2)
    items = [Item(str(n), "", ("x",), recordings=(str(n),)) for n in range(20)]
    task = replace(DIGITS, metrics=("exact_match",))
    right = ["x"] * 10 + ["y"] * 10
    given = {"none@1": ["x"] * 20} | {f"random@0.5/original/seed{seed}": right for seed in range(2)}
    (_, both) = score([asked(task, *items)], runs, answers("digits", given))
    assert both.by_seed == (50, 50)
    single_runs, _ = plan(["stride"], [0.5], ["original"], 1)
    (_, one) = score([asked(task, *items)], single_runs, answers("digits", given | {"stride@0.5/original": right}))
    assert (both.value, both.low, both.high) == (one.value, one.low, one.high)
    given["random@0.5/original/seed1"] = ["x"] * 20
    (_, mixed) = score([asked(task, *items)], runs, answers("digits", given))
    assert (mixed.value, mixed.by_seed) == (75, (50, 100))


def test_parts() -> None:
    items = [Item(str(n), "", ("x",), recordings=(str(n),), subset=part) for n, part in enumerate(("a", "b", "b"))]
    given = answers("digits", {"none@1": ["x", "y", "x"]})
    whole = score([asked(replace(DIGITS, metrics=("exact_match",)), *items)], [NONE], given)
    assert [(each.subset, round(each.value), each.items) for each in whole] == [
        ("", 67, 3),
        ("a", 100, 1),
        ("b", 50, 2),
    ]
    apart = replace(DIGITS, metrics=("exact_match",), subsets=("b", "a"))
    assert [each.subset for each in score([asked(apart, *items)], [NONE], given)] == ["b", "a"]


def test_options_in_written_answers() -> None:
    task = Task("mmau", "MMAU", "choice", ("accuracy",), {"": "{options}"})
    choices = ("a dog", "a cat", "rain")
    items = [Item(str(n), "?", ("a cat",), choices, (str(n),)) for n in range(5)]
    texts = ["(B) A cat.", "a cat or a dog", "rain", "It is a cat, I think", "B"]
    (found,) = score([asked(task, *items)], [NONE], answers("mmau", {"none@1": texts}))
    assert found.value == pytest.approx(60)
    likeliest = replace(asked(task, *items), by_likelihood=True)
    (found,) = score([likeliest], [NONE], answers("mmau", {"none@1": ["a cat", "a dog", "rain", "a cat", "rain"]}))
    assert found.value == 40


def test_options_that_differ_in_punctuation() -> None:
    task = Task("mmau", "MMAU", "choice", ("accuracy",), {"": "{options}"})
    items = [Item(str(n), "?", ("C#",), ("C", "C#"), (str(n),)) for n in range(2)]
    likeliest = replace(asked(task, *items), by_likelihood=True)
    (found,) = score([likeliest], [NONE], answers("mmau", {"none@1": ["C", "C#"]}))
    assert found.value == 50


def test_a_missing_answer_is_no_wrong_one() -> None:
    with pytest.raises(ValueError, match="no answer to digits, item 1, under none@1"):
        score([asked(DIGITS, *STRINGS)], [NONE], answers("digits", {"none@1": ["one two three"]}))


def numbers(method: str, ratio: float | None, positions: str | None, value: float, **more: Any) -> Score:
    values: dict[str, Any] = {"task": "mmau", "subset": "", "metric": "accuracy"}
    spread = {"low": value - 1, "high": value + 1, "difference": 0.0, "difference_low": 0.0, "difference_high": 0.0}
    rest = {"method": method, "ratio": ratio, "positions": positions, "value": value, "by_seed": (), "items": 9}
    return Score(**values | spread | rest | {"kept": 1.0 if ratio is None else ratio} | more)


TABLE = [
    numbers("none", 1.0, None, 60.0),
    numbers("top_k", 0.5, "contiguous", 58.04),
    numbers("top_k", 0.25, "contiguous", 51.0),
    numbers("top_k", 0.25, "original", 52.0, low=math.nan, high=math.nan),
    numbers("ltbm:max_tokens=9", None, "contiguous", 40.0),
]


def test_the_tables_layout() -> None:
    paper = "2511.14293"
    assert markdown(TABLE, published_for("nvidia/audio-flamingo-3-hf"), {"mmau": "MMAU"}).splitlines() == [
        "**MMAU**: accuracy in %, higher is better, 9 items",
        "",
        "| method | positions | 1 | 1/2 | 1/4 | own budget |",
        "| --- | --- | --- | --- | --- | --- |",
        "| `none` | - | 60.0 (59.0 to 61.0) [73.0, 2511.14293] |  |  |  |",
        f"| `top_k` | contiguous |  | 58.0 (57.0 to 59.0) [69.0, {paper}] | 51.0 (50.0 to 52.0) [68.0, {paper}] |  |",
        "| `top_k` | original |  |  | 52.0 |  |",
        "| `ltbm:max_tokens=9` | contiguous |  |  |  | 40.0 (39.0 to 41.0) |",
    ]
    assert "2511" not in markdown(TABLE, published_for("somebody/else"))
    assert "positions" not in markdown(TABLE[:3])
    assert published_for("Qwen/Qwen2-Audio-7B-Instruct", "likelihood") == [
        each for each in published_for("Qwen/Qwen2-Audio-7B-Instruct", "similarity") if each.task != "mmau"
    ]
    assert "0.49 (-0.51 to 1.49)" in markdown([numbers("top_k", 0.5, "original", 0.49, metric="cider")])


def test_papers_numbers_are_in_their_metrics_units() -> None:
    for each in PUBLISHED:
        assert (30 < each.value < 80) if each.metric == "accuracy" else (0 < each.value < 1)
    assert len({(p.paper, p.model, p.task, p.subset, p.metric, p.method, p.ratio) for p in PUBLISHED}) == len(PUBLISHED)


def test_a_report_says_what_one_must_know() -> None:
    task = Task("mmau", "MMAU", "choice", ("accuracy",), {"": "{options}"}, note="Two versions.")
    items = Items([STRINGS[0]], EMPTY, [], [], "some/set", "test", 2)
    by = {"choice_scoring": "string_match", "metrics": {"mmau": {"accuracy": {}}}}
    scores = [*TABLE, numbers("segmentwise_top_k", 0.1, "contiguous", 40.0, kept=0.08, unfinished=0.25)]
    text = report(scores, [Asked(task, items, [], 8, cut=3)], "m", by, published_for("x/audio-flamingo-3-hf"))
    assert text.startswith("Model: m\n\n**MMAU**")
    assert (
        "- MMAU: 1 items of some/set (test), 2 rows left out, 3 recordings heard to the model's limit only, options by "
        "string match. Two versions." in text
    )
    assert "- `segmentwise_top_k` kept 8 % at 1/10." in text
    assert "- mmau: up to 25 % of the answers (`segmentwise_top_k`) were cut off" in text
    assert "In parentheses, 95 % intervals over recordings. In brackets, what the paper reports" in text


def test_the_csv_has_everything() -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv([numbers("random", 0.5, "original", 50.0, by_seed=(49.0, 51.0))]))))
    assert lines[0]["by_seed"] == "49 51"
    assert float(lines[0]["value"]) == 50
    assert {"task", "low", "high", "difference", "kept", "items"} <= set(lines[0])


def test_scores_survive_their_file(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path / "out")
    folder.begin({"model": "m", "tasks": {}}, [NONE], {})
    cost = Cost("t", "none@1", 2, 100, 50, None, None, None)
    assert folder.finish(TABLE, [cost], "tables", {})["costs"] == [cost.to_dict()]
    assert folder.runs() == [NONE]
    back = read_scores(tmp_path / "out" / "results.json")
    assert markdown(back) == markdown(TABLE)
    assert [repr(each) for each in back] == [repr(each) for each in TABLE], "nan is not equal to itself"
    assert "NaN" not in (tmp_path / "out" / "results.json").read_text()


def test_the_picture_has_just_these_points() -> None:
    pytest.importorskip("matplotlib")
    from hf_tokcomp.plotting.quality import plot_quality

    figure = plot_quality(TABLE, {"mmau": "MMAU"})
    assert len(figure.axes) == 2, "a panel for each kind of positions"
    first = {line.get_label(): line for line in figure.axes[0].get_lines() if not line.get_label().startswith("_")}
    points = {container.get_label(): container[0].get_xydata().tolist() for container in figure.axes[0].containers}
    assert points["top_k"] == [[25.0, 51.0], [50.0, 58.04]]
    assert points["ltbm:max_tokens=9"] == [[100.0, 40.0]]
    assert first["none"].get_ydata()[0] == 60
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_quality(TABLE[:1])


def test_intervals_end_where_the_metric_does() -> None:
    """Items of several recordings may weigh less than nothing, which takes the estimate beyond what there can be."""
    items = [Item(str(n), "", ("x",), recordings=tuple(str((n + k) % 8) for k in range(4))) for n in range(12)]
    task = replace(DIGITS, metrics=("exact_match", "wer_plain"))
    texts = ["y"] + ["x"] * 11
    right = np.array([[text == "x", 1] for text in texts], float)
    clusters = [item.recordings for item in items]
    assert interval(right, clusters, lambda sums: 100 * sums[..., 0] / sums[..., 1])[1] > 100
    exact, wrong = score([asked(task, *items)], [NONE], answers("digits", {"none@1": texts}))
    assert (exact.high, wrong.low) == (100, 0)
    assert exact.low < exact.value < 100
