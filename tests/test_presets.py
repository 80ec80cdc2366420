"""Task presets: what they give, what may be changed, and that their evidence is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hf_tokcomp import CompressionConfig, CompressionConfigError
from hf_tokcomp.presets import PRESETS

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
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for number in re.findall(r"\d{4}\.\d{5}", evidence):
        assert number in readme
