"""The two skills of the small model that ships with the package, asked about recordings it never saw."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..task import Row, Task, register_task

ITEMS = 500


def _rows(skill: str, folder: Path, split: str | None, count: int | None, seed: int) -> list[Row]:
    from ...checkpoints.recipe.sources import SAMPLE_RATE, data_folder
    from ...checkpoints.recipe.test_set import TASKS

    rows: list[Row] = []
    wanted = ITEMS if count is None and skill == "digits" else count  # of sounds, all there are
    for item in TASKS[skill](data_folder(folder), split or "test", wanted, seed):
        rows.append(
            {
                "audio": {"array": item.audio, "sampling_rate": SAMPLE_RATE},
                "text": [item.text],
                "question": item.prompt,
                "recordings": tuple(source_of(name) for name in item.recordings),
            }
        )
    return rows


def source_of(file: str) -> str:
    """The recording that a file was cut from: ESC-10 has several takes of one, `{fold}-{recording}-{take}.ogg`."""
    return file.split("-")[1] if file.endswith(".ogg") else file


ASKED = {"": "{question}"}

register_task(
    Task(
        name="digits",
        title="Digit strings",
        kind="asr",
        # The standard normaliser would make one word, a number, of a whole string.
        metrics=("wer_plain",),
        prompts=ASKED,
        max_new_tokens=12,
        make=partial(_rows, "digits"),
    )
)
register_task(
    Task(
        name="sounds",
        title="Naming sounds",
        kind="qa",
        metrics=("exact_match",),
        prompts=ASKED,
        max_new_tokens=12,
        make=partial(_rows, "sounds"),
    )
)
