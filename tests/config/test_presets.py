"""Task presets: what they give, what may be changed, and that their evidence is named."""

from __future__ import annotations

import re

import pytest
from places import ROOT

from hf_tokcomp import CompressionConfig, CompressionConfigError
from hf_tokcomp.config.presets import PRESETS
from hf_tokcomp.evaluation.score import read_scores

EVIDENCE = ROOT / "docs" / "evidence" / "results" / "results.json"
TASKS = ["captioning", "multiple_choice", "asr"]


def test_the_tasks_are_these() -> None:
    assert list(PRESETS) == TASKS
    for task in TASKS:
        assert f'``"{task}"``' in (CompressionConfig.for_task.__doc__ or "")


@pytest.mark.parametrize("task", TASKS)
def test_a_preset_is_a_config_like_any_other(task: str) -> None:
    config = CompressionConfig.for_task(task)
    assert CompressionConfig.from_dict(config.to_dict()) == config
    assert config.deterministic_length
    assert 0 < config.output_length(750) <= 375


@pytest.mark.parametrize("task", TASKS)
def test_a_preset_takes_changes(task: str) -> None:
    plain = CompressionConfig.for_task(task)
    assert CompressionConfig.for_task(task, retention_ratio=0.3) == plain.replace(retention_ratio=0.3)
    assert CompressionConfig.for_task(task, tokens_per_second=5) == plain.replace(tokens_per_second=5)
    assert CompressionConfig.for_task(task, positions="original").positions == "original"
    with pytest.raises(CompressionConfigError, match="no option 'positoins'"):
        CompressionConfig.for_task(task, positoins="original")
    with pytest.raises(CompressionConfigError, match="one budget"):
        CompressionConfig.for_task(task, retention_ratio=0.3, max_tokens=5)


@pytest.mark.parametrize("task", ["captions", "", None, 3])
def test_an_unknown_task_is_told_the_known_ones(task: object) -> None:
    with pytest.raises(CompressionConfigError, match=r"Unknown task .* Known tasks: captioning, multiple_choice, asr"):
        CompressionConfig.for_task(task)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", TASKS)
def test_the_evidence_is_named_and_is_that_of_the_method(task: str) -> None:
    evidence = PRESETS[task].__doc__ or ""
    assert evidence.startswith(f"``{CompressionConfig.for_task(task).method}``")
    assert "Evidence: arXiv" in evidence
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for number in re.findall(r"\d{4}\.\d{5}", evidence):
        assert number in readme


MEASURED = [
    ("captioning", "sound_captions", "exact_match", 1.0, None, {"none": "82 %"}),
    (
        "captioning",
        "sound_captions",
        "exact_match",
        0.25,
        "original",
        {"segmentwise_top_k": "57 %", "ltbm": "72 %", "random": "63 %", "top_k": "46 %"},
    ),
    ("captioning", "sound_captions", "exact_match", 0.25, "contiguous", {"segmentwise_top_k": "28 %"}),
    ("multiple_choice", "sound_choices", "accuracy", 1.0, None, {"none": "95 %"}),
    (
        "multiple_choice",
        "sound_choices",
        "accuracy",
        0.5,
        "original",
        {"segmentwise_top_k": "94 %", "global_merge": "95 %", "random": "95 %", "top_k": "91 %"},
    ),
    (
        "multiple_choice",
        "sound_choices",
        "accuracy",
        0.5,
        "contiguous",
        {"segmentwise_top_k": "88 %", "global_merge": "93 %"},
    ),
    ("asr", "digits", "wer_plain", 1.0, None, {"none": "1.7 %"}),
    (
        "asr",
        "digits",
        "wer_plain",
        0.5,
        "original",
        {
            "average_pooling:allocation=content": "3.7 %",
            "average_pooling": "4.4 %",
            "sa_map": "4.9 %",
            "ltbm": "4.8 %",
            "top_k": "14.4 %",
        },
    ),
    ("asr", "digits", "wer_plain", 0.5, "contiguous", {"average_pooling": "19.6 %"}),
    (
        "asr",
        "digits",
        "wer_plain",
        0.25,
        "original",
        {"average_pooling:allocation=content": "19.6 %", "average_pooling": "28.6 %", "sa_map": "20.1 %"},
    ),
]
"""Numbers in the presets' evidence: task's preset, task, metric, ratio, positions, and what stands there by method."""


@pytest.mark.parametrize(("preset", "task", "metric", "ratio", "positions", "said"), MEASURED)
def test_our_own_numbers_are_those_of_the_evidence(
    preset: str, task: str, metric: str, ratio: float, positions: str | None, said: dict[str, str]
) -> None:
    text = " ".join((PRESETS[preset].__doc__ or "").split())
    cell = {
        score.method: score.value
        for score in read_scores(EVIDENCE)
        if (score.task, score.metric, score.ratio, score.positions, score.subset)
        == (task, metric, ratio, positions, "")
    }
    for method, written in said.items():
        digits = len(written.removesuffix(" %").partition(".")[2])
        assert f"{cell[method]:.{digits}f} %" == written
        assert written in text


def test_every_number_of_our_own_is_compared_with_the_evidence() -> None:
    for name in TASKS:
        own = (PRESETS[name].__doc__ or "").partition("Our own")[2]
        known = {written for preset, *_, said in MEASURED if preset == name for written in said.values()}
        assert set(re.findall(r"[\d.]+ %", " ".join(own.split()))) <= known
