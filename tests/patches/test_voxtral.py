"""Voxtral's processor takes conversations alone; whole prompts and recordings are made into those."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from subjects.voxtral import AUDIO, BEGIN, PAD, RATE, SECONDS, SUBJECT

from hf_tokcomp.inference.prompts import model_inputs, whole_prompt
from hf_tokcomp.testing import sound


@pytest.fixture
def processor() -> Any:
    made = SUBJECT.make_processor()
    own = made.apply_chat_template
    options = {"pad_to_multiple_of": SECONDS * RATE, "max_source_positions": 100 * SECONDS}
    made.apply_chat_template = lambda given: own(given, processor_kwargs=options)
    return made


@pytest.mark.parametrize("side", ["left", "right"])
def test_whole_prompts_become_conversations(processor: Any, side: Any) -> None:
    prompts = [whole_prompt(processor, SUBJECT.patch, "what"), "a [AUDIO] then [AUDIO]"]
    assert prompts[0] == "[AUDIO]what"
    audio = [sound(1.0, 0), sound(2.5, 1), sound(0.5, 2)]
    inputs = model_inputs(processor, prompts, audio, RATE, side)
    counts = [[end - begin for begin, end in row] for row in SUBJECT.audio_runs(inputs)]
    assert counts == [[25], [50, 25]]
    assert inputs["input_features"].shape == (4, 16, 200)
    first = inputs["input_ids"][0]
    padding = first == PAD
    assert torch.equal(inputs["attention_mask"][0].bool(), ~padding)
    assert padding[0 if side == "left" else -1]
    assert first[~padding].tolist()[:3] == [1, 3, BEGIN]
    assert (inputs["input_ids"] == AUDIO).sum() == 100
    SUBJECT.model()(**inputs)


def test_recordings_must_be_as_many_as_placeholders(processor: Any) -> None:
    with pytest.raises(ValueError, match=r"have 1 times \[AUDIO\], and there are 2 recordings"):
        model_inputs(processor, ["[AUDIO] what"], [sound(1.0, 0)] * 2, RATE)
