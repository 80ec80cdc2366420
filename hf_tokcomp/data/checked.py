"""Checks that recordings exist, can be decoded and have a valid length, and the report of those that do not."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import datasets
from datasets.utils import tqdm

from ..audio.addresses import is_address, path_of
from ..audio.loading import UNREADABLE, load_audio
from ..messages import shortened
from .table import Table

logger = logging.getLogger(__name__)
NAMED = 5
BLOCK = 256


@dataclass(frozen=True)
class AudioCheck:
    """How recordings are checked.

    Args:
        decode: decode them; otherwise only check that the file exists.
        min_seconds: the minimum length.
        max_seconds: the maximum length, if any.
        sampling_rate: the rate they are decoded to.
    """

    decode: bool
    min_seconds: float
    max_seconds: float | None
    sampling_rate: int

    def __call__(self, audio: dict[str, Any]) -> tuple[str | None, int | None]:
        """The problem with an audio ``{"bytes", "path"}`` or None, and its number of samples if it was decoded."""
        content, path = audio["bytes"], audio["path"]
        name = shortened(path or "the audio")
        if content is None and path is None:
            return "there is no audio", None
        if not self.decode:
            if content is not None:
                return None, None
            try:
                here = path_of(path) or (None if is_address(path) else path)
            except ValueError as error:
                return str(error).rstrip("."), None
            there = here is None or os.path.isfile(here)
            return None if there else f"There is no audio file {shortened(str(here))}", None
        try:
            samples = len(load_audio(audio, self.sampling_rate))
        except UNREADABLE as error:
            return str(error).rstrip("."), None
        seconds = samples / self.sampling_rate
        if seconds < self.min_seconds:
            return f"{name} is {seconds:.3g} s long, less than {self.min_seconds:g} s", samples
        if self.max_seconds is not None and seconds > self.max_seconds:
            return f"{name} is {seconds:.5g} s long, more than the model's limit of {self.max_seconds:g} s", samples
        return None, samples


def check_audio(
    table: datasets.Dataset, rows: Sequence[int], check: AudioCheck, workers: int | None
) -> tuple[dict[int, str], dict[int, int]]:
    """The problems with the audio of rows, by row, and the number of samples of each row that was decoded.

    Uses threads, not processes: libsndfile and soxr release the GIL, and forking next to torch's threads may hang.

    Args:
        table: a table with a column ``audio``, undecoded.
        rows: the rows to check.
        check: how to check them.
        workers: number of recordings decoded at once; None for one per core.
    """
    wrong: dict[int, str] = {}
    lengths: dict[int, int] = {}

    def look(row: int) -> tuple[str | None, int | None]:
        return check(table[row]["audio"])

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with (
        ThreadPoolExecutor(workers or cores) as pool,
        tqdm(total=len(rows), desc="Checking recordings", unit=" rows", disable=None) as bar,
    ):
        for start in range(0, len(rows), BLOCK):  # in blocks, so that interrupts work and the queue stays short
            block = rows[start : start + BLOCK]
            for row, (reason, samples) in zip(block, pool.map(look, block), strict=True):
                if reason is not None:
                    wrong[row] = reason
                if samples is not None:
                    lengths[row] = samples
            bar.update(len(block))
    return wrong, lengths


def report(table: Table, wrong: Mapping[int, str], skip_bad: bool) -> list[tuple[int, str]]:
    """Number and reason of each row that cannot be used; a warning names the first few.

    Args:
        table: the table.
        wrong: reasons by row.
        skip_bad: whether such rows are skipped.

    Raises:
        ValueError: they must not be skipped, or no usable row is left.
    """
    skipped = [(table.number(row), wrong[row]) for row in sorted(wrong)]
    if not skipped:
        return []
    rows, few = len(table.content), _listed(skipped, table.unit)
    if len(skipped) == rows:
        raise ValueError(f"None of the {rows} rows of {table.name} can be used:\n{few}")
    many = f"{len(skipped)} of the {rows} rows of {table.name}"
    if not skip_bad:
        raise ValueError(
            f"{many} cannot be used:\n{few}\nFix them, or leave them out with --on-error skip (skip_bad=True)."
        )
    logger.warning("%s were left out:\n%s", many, few)
    return skipped


def _listed(skipped: Sequence[tuple[int, str]], unit: str) -> str:
    """The first few problems, one per line."""
    lines = [f"  {unit} {number}: {reason}." for number, reason in skipped[:NAMED]]
    more = len(skipped) - NAMED
    return "\n".join([*lines, f"  and {more} more."] if more > 0 else lines)
