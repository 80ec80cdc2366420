"""Clotho v2 (Drossos et al., ICASSP 2020): captions of 15 to 30 seconds of sound, five per recording."""

from __future__ import annotations

from ..grouping import one_item_per_recording
from ..task import Task, register_task
from .audiocaps import CAPTION_METRICS, CAPTION_PROMPTS

register_task(
    Task(
        name="clotho",
        title="Clotho v2",
        kind="captioning",
        metrics=CAPTION_METRICS,
        prompts=CAPTION_PROMPTS,
        max_new_tokens=64,
        # No data set on the Hub is known to hold audio and captions: name a folder or a table.
        split="evaluation",
        columns={
            "audio": ("file_name", "audio", "context"),
            "text": ("caption_1+caption_2+caption_3+caption_4+caption_5", "captions", "caption", "raw_text"),
        },
        merge=one_item_per_recording,
    )
)
