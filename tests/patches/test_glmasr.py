"""GLM-ASR takes windows of any width that makes whole tokens, and hears the silence in them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from subjects.glmasr import SUBJECT

import hf_tokcomp
from hf_tokcomp.testing import sound


def inputs(width: int) -> dict[str, Any]:
    """Two audios in windows of so many mel frames."""
    processor = SUBJECT.make_processor()
    return dict(
        processor(
            text=["what <|pad|> is", "<|pad|> now"],
            audio=[sound(0.5, 0), sound(1.0, 1)],
            sampling_rate=16000,
            audio_kwargs={"max_length": 160 * width},
        )
    )


@torch.no_grad()
def test_windows_may_be_narrower() -> None:
    batch, model = inputs(120), SUBJECT.model()
    assert batch["input_features"].shape[-1] == 120
    wanted = model(**batch).logits
    hf_tokcomp.patch(model, {"method": "stride", "retention_ratio": 1.0})
    torch.testing.assert_close(model(**batch).logits, wanted, atol=1e-5, rtol=1e-4)
    assert model.audio_compressor.last.tokens_before == [6, 12]


def test_what_makes_no_whole_tokens_is_refused() -> None:
    batch, model = inputs(118), hf_tokcomp.patch(SUBJECT.model(), "average_pooling")
    with pytest.raises(ValueError, match="118 mel frames do not make whole tokens"):
        model(**batch)


def test_what_does_not_fill_a_window_more_is_not_read() -> None:
    processor = SUBJECT.make_processor()
    assert SUBJECT.patch.longest_audio(processor) == 654  # of 655, in windows of 2 s
    processor.max_audio_len = 5
    read = processor(text=["<|pad|>"], audio=[sound(5.0, 0)], sampling_rate=16000)
    assert len(read["input_features"]) == SUBJECT.patch.longest_audio(processor) / 2 == 2
