"""Audio Flamingo 3: one audio of several windows of 1 s."""

from __future__ import annotations

from functools import partial

import tiny

from hf_tokcomp.testing import Subject, by_text

SUBJECT = Subject(
    partial(tiny.model, "audioflamingo3"),
    partial(tiny.processor, "audioflamingo3"),
    by_text(lambda _, words: tiny.prompt("audioflamingo3", 1, words), tiny.WORDS),
)
