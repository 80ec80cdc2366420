"""Ten utterances of LibriSpeech that ship with the package: real speech to try a pretrained model on."""

from __future__ import annotations

from pathlib import Path

from ...checkpoints import speech
from ..task import Row, Task
from .librispeech import ASR_PROMPTS

FOLDER = speech()[0][0].parent


def _rows(folder: Path, split: str | None, count: int | None, seed: int) -> list[Row] | None:
    if folder != FOLDER:
        return None
    if split is not None:
        raise ValueError(f"The utterances that ship with the package have no splits; leave out {split!r}.")
    return [{"audio": str(path), "text": [text], "id": path.name} for path, text in speech()]


TASK = Task(
    name="speech",
    title="LibriSpeech, ten utterances",
    kind="asr",
    metrics=("wer",),
    prompts=ASR_PROMPTS,
    max_new_tokens=200,
    folder=FOLDER,
    make=_rows,
)
