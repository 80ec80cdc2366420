"""How two answers are compared; the comparison itself runs in vLLM, see tests/serving."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recipes.serving_check import Expected, report

LOGITS = torch.tensor([[8.0, 0.0, 1.0], [0.0, 7.9, 8.0], [8.0, -8.0, 0.0]])


@pytest.mark.parametrize(
    ("given", "gap"),
    [([0, 2, 0], 0.0), ([0, 1, 0], 0.0125), ([0, 2, 1], 2.0), ([2, 2, 0], 0.875), ([0, 2], 0.0), ([0, 1], 0.0125)],
)
def test_how_undecided_the_model_is(given: list[int], gap: float) -> None:
    assert Expected([0, 2, 0], LOGITS).gap(given) == pytest.approx(gap)


def test_only_a_tie_is_no_failure(capsys: Any) -> None:
    wanted = [Expected([0, 2, 0], LOGITS)] * 3
    assert report(["a", "b", "c"], wanted, [[0, 2, 0], [0, 2, 0], [0, 1, 0]]) == 0
    assert capsys.readouterr().out == ("2 of 3 answers are equal.\nc: a tie, logits 0.0125 of the largest apart\n")
    assert report(["a", "b", "c"], wanted, [[0, 2, 0], [0, 2, 1], [0, 1, 0]]) == 1
    assert "b: DIFFERS, logits 2.0000 of the largest apart" in capsys.readouterr().out
