"""Whisper: one audio per window of 2 s, with no prompt."""

from __future__ import annotations

from typing import Any

import tiny_whisper

from hf_tokcomp.testing import Subject, sound
from hf_tokcomp.testing.subject import RATE


def inputs(processor: Any, seconds: Any) -> dict[str, Any]:
    recordings = [sound(own[0], seed) for seed, own in enumerate(seconds)]
    return dict(processor(recordings, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True))


SUBJECT = Subject(
    lambda: tiny_whisper.made(multilingual=False, longest=448)[0],
    lambda: tiny_whisper.made(multilingual=False, longest=448)[1],
    inputs,
    window=float(tiny_whisper.SECONDS),
)
