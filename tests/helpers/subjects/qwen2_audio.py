"""Qwen2-Audio: several audios of one window of 1 s, or with long audio in windows, of several."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import tiny

import hf_tokcomp
from hf_tokcomp.testing import Subject, by_text

SUBJECT = Subject(
    partial(tiny.model, "qwen2_audio"),
    partial(tiny.processor, "qwen2_audio"),
    by_text(lambda audios, words: tiny.prompt("qwen2_audio", audios, words), tiny.WORDS),
)


def windowing() -> Any:
    """A processor that makes windows, and keeps all their tokens."""
    return hf_tokcomp.patch(
        tiny.processor("qwen2_audio"), {"method": "stride", "retention_ratio": 1.0, "long_audio": "windows"}
    )


IN_WINDOWS = replace(SUBJECT, make_processor=windowing)
