"""Tasks for the three skills of the small model that ships with the package, on recordings not seen in training."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..task import Row, Task

ITEMS = 500


def _rows(skill: str, folder: Path, split: str | None, count: int | None, seed: int) -> list[Row]:
    from ...checkpoints.test_sets.items import TASKS
    from ...checkpoints.test_sets.sources import SAMPLE_RATE, data_folder

    return [
        {
            "audio": {"array": item.audio, "sampling_rate": SAMPLE_RATE},
            "text": [item.text],
            "question": item.prompt,
            "choices": item.choices,
            "recordings": tuple(source_of(name) for name in item.recordings),
        }
        for item in TASKS[skill](data_folder(folder), split or "test", ITEMS if count is None else count, seed)
    ]


def source_of(file: str) -> str:
    """The recording a file was cut from: ESC-10 has several takes per recording, `{fold}-{recording}-{take}.ogg`."""
    return file.split("-")[1] if file.endswith(".ogg") else file


CORPORA = "HF_TOKCOMP_DATA"
ASKED = {"": "{question}"}
# The column names in a manifest of these items.
QUESTION = ("prompt", "question")

DIGITS = Task(
    name="digits",
    title="Digit strings",
    kind="asr",
    # The standard normaliser would turn a whole digit string into one word, a number.
    metrics=("wer_plain",),
    prompts=ASKED,
    max_new_tokens=12,
    columns={"question": QUESTION},
    make=partial(_rows, "digits"),
    variable=CORPORA,
)
SOUND_CAPTIONS = Task(
    name="sound_captions",
    title="Captions of sounds",
    kind="captioning",
    # Captions are composed of ten phrases, so exact match applies; ROUGE-L also credits partial matches.
    metrics=("exact_match", "rouge_l"),
    prompts=ASKED,
    max_new_tokens=16,
    columns={"question": QUESTION},
    make=partial(_rows, "sound_captions"),
    variable=CORPORA,
)
SOUND_CHOICES = Task(
    name="sound_choices",
    title="Questions about sounds",
    kind="multiple_choice",
    metrics=("accuracy",),
    # The options are part of the question, which is written as in training.
    prompts=ASKED,
    max_new_tokens=8,
    columns={"question": QUESTION, "choices": ("choices",)},
    make=partial(_rows, "sound_choices"),
    variable=CORPORA,
)
