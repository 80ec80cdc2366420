"""Recordings of one's own: a task of every kind without a benchmark's name, titled as the data are called.

A row with a prompt or question of its own is asked that, as `hf-tokcomp compare` and `finetune` ask it; the others what
comes with the model, or else what `finetune` asks by default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...data.columns import PROMPT
from ..grouping import one_item_per_recording
from ..kinds import PROMPTS, Kind
from ..task import Row, Task
from .audiocaps import CAPTION_METRICS


def _own(
    kind: Kind, *metrics: str, prompt: str = "", merge: Callable[[Sequence[Row]], list[Row]] | None = None
) -> Task:
    columns = {"question": PROMPT, "id": ("id",)}
    if kind == "multiple_choice":
        columns["choices"] = ("choices", "options")
    prompts = {"": prompt or PROMPTS[kind]}
    return Task(kind, "", kind, metrics, prompts, max_new_tokens=None, columns=columns, merge=merge, own=True)


TASKS = (
    # Compared as `compare` and `finetune` do; Whisper's normaliser, as published numbers use it, has librispeech.
    _own("asr", "wer_plain"),
    _own("translation", "bleu"),
    _own("captioning", *CAPTION_METRICS, merge=one_item_per_recording),
    _own("question_answering", "exact_match", prompt="{question}"),
    _own("multiple_choice", "accuracy", prompt="{question}\nChoose the correct option:\n{options}"),
)
