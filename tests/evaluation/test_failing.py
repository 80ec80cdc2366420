"""A loud note where the uncompressed model itself fails, and headings that say what was asked about what."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from training_files import jsonl

from hf_tokcomp.checkpoints import recordings
from hf_tokcomp.cli import main
from hf_tokcomp.evaluation.failing import failures
from hf_tokcomp.evaluation.score import Score
from hf_tokcomp.evaluation.task import Item, Task

NONE = Score("t", "", "wer", "none", 1.0, None, 51.0, 40.0, 60.0, 0.0, 0.0, 0.0, (), 2, 1.0)


def asked(kind: str, choices: tuple[str, ...] = ()) -> Any:
    task = Task("t", "Mine", kind, ("wer",), {"": ""})  # type: ignore[arg-type]
    items = [Item(str(number), "", ("a",), choices, subset="part") for number in range(2)]
    return SimpleNamespace(task=task, items=SimpleNamespace(items=items))


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({}, "asr", "Mine: the uncompressed model itself gets 51.0 % of the words wrong"),
        ({"metric": "wer_plain", "subset": "part"}, "asr", "Mine, part: the uncompressed model"),
        ({"value": 50.0}, "asr", ""),
        ({"method": "stride", "ratio": 0.5}, "asr", ""),
        ({"metric": "accuracy", "value": 40.0, "low": 24.0}, "multiple_choice", "guessing has 25.0 %"),
        ({"metric": "accuracy", "value": 40.0, "low": 26.0}, "multiple_choice", ""),
        ({"metric": "accuracy", "value": 40.0, "low": math.nan}, "multiple_choice", ""),
        ({"metric": "accuracy", "value": 20.0, "low": math.nan}, "multiple_choice", "within noise of chance"),
        ({"metric": "bleu", "value": 90.0}, "translation", ""),
    ],
)
def test_which_tasks_the_model_cannot_do(changes: dict[str, Any], kind: str, said: str) -> None:
    found = failures([dataclasses.replace(NONE, **changes)], [asked(kind, ("a", "b", "c", "d"))])
    assert len(found) == bool(said)
    assert said in " ".join(found)


@pytest.mark.usefixtures("one_thread")
def test_a_table_of_a_model_that_fails_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"audio": str(path), "text": "nothing of it"} for path, _ in recordings()]
    file = jsonl(tmp_path / "mine.jsonl", *rows)
    given = ["--dataset", str(file), "--resamples", "100", "--output", str(tmp_path / "out")]
    assert main(["eval", "asr", *given]) == 0
    out, err = capsys.readouterr()
    assert "3 items of mine.jsonl, asked “Transcribe the digits.”" in out
    assert "**Beware. mine: the uncompressed model itself gets" in out
    assert "hf-tokcomp: warning: mine: the uncompressed model itself gets" in err
