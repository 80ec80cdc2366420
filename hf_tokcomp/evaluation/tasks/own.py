"""Tasks for the user's own recordings: one of each kind, titled with the name of the data.

A row's own prompt or question is used if it has one, as in `hf-tokcomp compare` and `finetune`; otherwise the prompt
that comes with the model, or else the default prompt of `finetune`.
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
    # The metric of `compare` and `finetune`; librispeech uses Whisper's normaliser, as published numbers do.
    _own("asr", "wer_plain"),
    _own("translation", "bleu"),
    _own("captioning", *CAPTION_METRICS, merge=one_item_per_recording),
    _own("question_answering", "exact_match", prompt="{question}"),
    _own("multiple_choice", "accuracy", prompt="{question}\nChoose the correct option:\n{options}"),
)
