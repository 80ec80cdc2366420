"""Which columns of a prompt are the user's question."""

from __future__ import annotations

import pytest
import torch

from hf_tokcomp.models.question import ChatTokens, question_columns

CHAT = ChatTokens(start=1, user=62, end=2, special=range(7))
PAD, START, END, AUDIO, NEWLINE, ASSISTANT, SYSTEM = 0, 1, 2, 4, 7, 16, 54


def question(ids: list[int], mask: list[int] | None = None, chat: ChatTokens | None = CHAT) -> list[int]:
    rows = torch.tensor([ids])
    columns = question_columns(rows, None if mask is None else torch.tensor([mask]), chat, [AUDIO, PAD])
    return rows[columns].tolist()


def turn(role: int, *text: int) -> list[int]:
    return [START, role, NEWLINE, *text, END, NEWLINE]


def test_the_last_user_turn_without_special_tokens_and_placeholders() -> None:
    asked = turn(62, 3, AUDIO, AUDIO, 5, 60, 55, NEWLINE, 25)
    opened = [START, ASSISTANT, NEWLINE]
    assert question(turn(SYSTEM, 67, 15) + asked + opened) == [60, 55, NEWLINE, 25]
    assert question(turn(62, 33, 44) + turn(ASSISTANT, 45) + asked + opened) == [60, 55, NEWLINE, 25]
    assert question(asked + turn(ASSISTANT, 45, 46) + opened) == [60, 55, NEWLINE, 25]
    assert question(turn(62, 3, AUDIO, 5) + opened) == []


def test_a_prompt_without_turns_is_all_question() -> None:
    assert question([3, AUDIO, AUDIO, 5, 60, 25]) == [60, 25]
    assert question([*turn(SYSTEM, 67), 60, 25]) == [SYSTEM, NEWLINE, 67, NEWLINE, 60, 25]
    # Without knowing how turns are marked, special tokens are text like any other, but those that are named.
    assert question([PAD, 3, AUDIO, 5, 60], chat=None) == [3, 5, 60]


def test_an_unfinished_turn_goes_to_the_end_and_masked_text_is_none() -> None:
    assert question([START, 62, NEWLINE, 60, 25]) == [60, 25]
    asked = turn(62, 60, 25)
    assert question([PAD, PAD, *asked], [0, 0, *[1] * len(asked)]) == [60, 25]
    assert question([60, 61, 60, 25], [0, 0, 1, 1], chat=None) == [60, 25]


def test_rows_do_not_mix() -> None:
    first, second = turn(62, 60, 25), turn(SYSTEM, 60, 25)
    columns = question_columns(torch.tensor([first, second]), None, CHAT, [])
    assert columns.tolist() == [[i in (3, 4) for i in range(7)], [i in (1, 2, 3, 4, 6) for i in range(7)]]


@pytest.mark.parametrize("ids", [[START], [START, 62], [END, END], [62, START]])
def test_broken_prompts_are_no_error(ids: list[int]) -> None:
    columns = question_columns(torch.tensor([ids], dtype=torch.long), None, CHAT, [])
    assert columns.shape == (1, len(ids))
