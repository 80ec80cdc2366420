"""Which windows and placeholders are an audio, for every kind of model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hf_tokcomp import PlaceholderMismatchError
from hf_tokcomp.prompt.layout import AudioLayout, match_audios
from hf_tokcomp.prompt.shorten import runs_of

HALF = {"output_length": lambda n: n // 2}
ALL_FULL = [True] * 4


def match(placeholders: list[int], tokens: list[int], **given: Any) -> AudioLayout:
    return match_audios(placeholders, tokens, given.pop("output_length", None), **given)


def test_each_window_is_an_audio() -> None:
    layout = match([7, 3], [4, 3, 3])
    assert (layout.tokens, layout.first_window, layout.rows) == ([4, 3, 3], [0, 1, 2], [0, 0, 1])


def test_windows_of_an_audio_may_be_said_for_any_model() -> None:
    for full in (None, [True, False, True, True]):
        layout = match([8, 9], [5, 3, 5, 4], window_is_full=full, windows_per_audio=[2, 2])
        assert (layout.tokens, layout.first_window, layout.rows) == ([8, 9], [0, 2], [0, 1])
        assert layout.numbers(4) == [0, 1, 0, 1]


def test_several_audios_of_several_windows_by_their_runs() -> None:
    """All windows are full, so counts of rows alone would not do: two and one, or one and two."""
    layout = match([15, 5], [5] * 4, window_is_full=ALL_FULL, runs=[(0, 10), (0, 5), (1, 5)])
    assert (layout.tokens, layout.rows) == ([10, 5, 5], [0, 0, 1])
    assert layout.numbers(4) == [0, 1, 0, 0]
    layout = match([15, 5], [5] * 4, window_is_full=ALL_FULL, runs=[(0, 5), (0, 10), (1, 5)])
    assert layout.numbers(4) == [0, 0, 1, 0]


def test_several_audios_of_several_windows_in_a_short_prompt() -> None:
    written = {"written": [5, 2, 2], "windows_per_audio": [2, 1, 1]}
    layout = match([7, 2], [5] * 4, **HALF, window_is_full=ALL_FULL, **written)
    assert (layout.tokens, layout.rows, layout.already_short) == ([10, 5, 5], [0, 0, 1], True)


def test_runs_that_fit_no_windows_are_an_error() -> None:
    with pytest.raises(PlaceholderMismatchError):
        match([15], [5] * 3, window_is_full=ALL_FULL[:3], runs=[(0, 7), (0, 8)])


@pytest.mark.parametrize("full", [None, ALL_FULL])
def test_windows_that_are_said_must_be_there(full: list[bool] | None) -> None:
    with pytest.raises(PlaceholderMismatchError, match="names 5 windows, but the batch has 4"):
        match([20], [5] * 4, window_is_full=full, windows_per_audio=[5])


def test_runs() -> None:
    rows = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]]).bool()
    assert runs_of(rows) == [(0, 0, 2), (0, 3, 4), (2, 1, 4)]
