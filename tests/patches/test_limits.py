"""What a patch says of the longest audio holds for its processor: what is longer is cut off, or read."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from subjects import subject_of
from subjects.checkpoints import folder_of

from hf_tokcomp.inference.collator import AudioTextCollator
from hf_tokcomp.inference.reader import Reader
from hf_tokcomp.models.registry import PATCHES


@pytest.mark.parametrize("model_type", PATCHES)
def test_longer_audio_is_cut_off_or_read(model_type: str) -> None:
    subject = subject_of(model_type)
    processor = subject.make_processor()
    if hasattr(processor, "max_audio_len"):
        processor.max_audio_len = int(2 * subject.window)
    longest = subject.patch.longest_audio(processor)
    uncut = not subject.patch.cuts_longer
    limit = 5.0 if uncut else longest  # these processors have no limit to change
    assert limit <= longest
    counts = []
    for seconds in (limit, limit + 2.0):
        inputs = subject.inputs([[seconds]], processor)
        if subject.patch.reads_prompts:
            counts.append(sum(end - begin for begin, end in subject.audio_runs(inputs)[0]))
        else:
            counts.append(sum(subject.patch.windows_of(inputs).frames))
    assert counts[0] > 0
    assert (counts[1] > counts[0]) == uncut


@pytest.mark.parametrize("model_type", ["qwen3_asr", "qwen3_omni_moe_thinker", "glmasr"])
def test_the_warning_says_which(model_type: str, caplog: pytest.LogCaptureFixture) -> None:
    reader = Reader(str(folder_of(model_type)))
    longest = reader.patch.longest_audio(reader.processor)
    samples = np.zeros(int((longest + 2) * reader.rate), np.float32)
    with caplog.at_level(logging.WARNING):
        assert reader.check_length("it", samples[: int(longest * reader.rate)]) == 0
        assert caplog.text == ""
        dropped = reader.check_length("it", samples)
    if reader.patch.cuts_longer:
        assert dropped == pytest.approx(2)
        assert f"the model reads the first {longest:g} s only" in caplog.text
    else:
        assert dropped == 0
        assert f"the model was made for at most {longest:g} s" in caplog.text


def test_training_refuses_both_and_says_which() -> None:
    subject = subject_of("qwen3_asr")
    collator = AudioTextCollator(subject.make_processor(), "what")
    collator.longest = 1.0
    row = {"audio": {"array": np.zeros(2 * 16000, np.float32), "sampling_rate": 16000}, "text": "this"}
    with pytest.raises(ValueError, match=r"has 2\.0 s, and the model was made for at most 1 s\. Cut it up"):
        collator([row])
