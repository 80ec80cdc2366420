"""Qwen2-Audio: several audios of one window of 1 s."""

from __future__ import annotations

from functools import partial

import tiny

from hf_tokcomp.testing import Subject, by_text

SUBJECT = Subject(
    partial(tiny.model, "qwen2_audio"),
    partial(tiny.processor, "qwen2_audio"),
    by_text(lambda audios, words: tiny.prompt("qwen2_audio", audios, words), tiny.WORDS),
)
