"""Clotho v2 (Drossos et al., ICASSP 2020): captions of 15 to 30 seconds of sound, five per recording."""

from __future__ import annotations

import csv
from pathlib import Path

from ..grouping import one_item_per_recording
from ..task import Row, Task
from .audiocaps import CAPTION_METRICS, CAPTION_PROMPTS

CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))


def corpus(folder: Path, split: str | None = None, count: int | None = None, seed: int = 0) -> list[Row] | None:
    """The rows of the unpacked corpus: ``clotho_captions_evaluation.csv`` next to ``evaluation/``.

    Raises:
        FileNotFoundError: the table exists but its folder of recordings does not.
    """
    name = split or "evaluation"
    table = folder / f"clotho_captions_{name}.csv"
    if not table.is_file():
        return None
    if not (folder / name).is_dir():
        raise FileNotFoundError(f"{table} is there, and the folder {folder / name} with its recordings is not.")
    with table.open(newline="", encoding="utf-8") as stream:
        return [
            {"audio": str(folder / name / row["file_name"]), "text": [row[column] for column in CAPTIONS]}
            for row in csv.DictReader(stream)
        ]


TASK = Task(
    name="clotho",
    title="Clotho v2",
    kind="captioning",
    metrics=CAPTION_METRICS,
    prompts=CAPTION_PROMPTS,
    max_new_tokens=64,
    # No dataset on the Hub is known to contain both audio and captions: a folder or a table must be given.
    split="evaluation",
    make=corpus,
    columns={"audio": ("audio", "context", "file_name"), "text": ("+".join(CAPTIONS), "captions", "raw_text")},
    merge=one_item_per_recording,
)
