"""`asked_about`: turn loaded recordings into a task, each with its prompt and, if known, its reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..inference.recordings import Recording
from .asked import Asked
from .items import Items, digest
from .speech import Transcriber
from .task import Item, Task


def asked_about(
    task: Task,
    recordings: Sequence[Recording],
    rate: int,
    title: str,
    dataset: str,
    max_new_tokens: int,
    skipped: int = 0,
    transcriber: Transcriber | None = None,
) -> Asked:
    """Build a task from recordings.

    Args:
        task: the task, which determines the metrics. Recordings without a reference are answered but not scored.
        recordings: the recordings, each with its prompt.
        rate: sampling rate in Hz.
        title: name of the recordings in tables and cards.
        dataset: name of their source.
        max_new_tokens: maximum length of an answer.
        skipped: number of recordings that were left out because they cannot be read.
        transcriber: how the answers are spoken and written down, if the task is spoken.
    """
    items = [
        Item(str(number), "", () if each.truth is None else (each.truth,), recordings=(each.name,))
        for number, each in enumerate(recordings)
    ]
    samples = [len(each.samples) for each in recordings]
    audio = [{"audio": {"array": each.samples, "sampling_rate": rate}} for each in recordings]
    found = Items(
        items, audio, list(range(len(items))), samples, dataset, skipped=skipped, digest=digest(items, samples)
    )
    prompts = [each.prompt for each in recordings]
    template = prompts[0] if len(set(prompts)) == 1 else ""
    cut = sum(each.dropped > 0 for each in recordings)
    titled = dataclasses.replace(task, title=title)
    return Asked(titled, found, prompts, max_new_tokens, template=template, cut=cut, transcriber=transcriber)
