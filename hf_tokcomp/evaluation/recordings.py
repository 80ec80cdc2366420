"""asked_about: recordings that are loaded already as a task, each with its prompt and, where it is known, its truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..inference.recordings import Recording
from .asked import Asked
from .items import Items, digest
from .task import Item, Task


def asked_about(
    task: Task,
    recordings: Sequence[Recording],
    rate: int,
    title: str,
    dataset: str,
    max_new_tokens: int,
    skipped: int = 0,
) -> Asked:
    """A task about recordings.

    Args:
        task: which one; it decides about the metrics. A recording without a truth is answered and not scored.
        recordings: what is asked about, with the prompt of each.
        rate: samples per second.
        title: what tables and cards call the recordings.
        dataset: what they were found under.
        max_new_tokens: of an answer.
        skipped: how many recordings were left out because they cannot be read.
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
    return Asked(titled, found, prompts, max_new_tokens, template=template, cut=cut)
