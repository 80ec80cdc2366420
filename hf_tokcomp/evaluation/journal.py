"""Journal: every answer as a line of JSON the moment it is there, so that a sweep cut off at any moment goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PATTERN = "answers-*.jsonl"


@dataclass(frozen=True)
class Given:
    """What was answered.

    Args:
        task: the task's name.
        item: the item's id.
        run: the run's key.
        text: the answer; of a choice by likelihood, the option.
        tokens_before: audio tokens before compression.
        tokens_after: audio tokens after it.
        scores: the log-likelihood of each option, where they were asked for.
    """

    task: str
    item: str
    run: str
    text: str
    tokens_before: int
    tokens_after: int
    scores: tuple[float, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        return self.task, self.item, self.run


class Journal:
    """The answers in a folder; each process writes to a file of its own and reads everybody's.

    Args:
        folder: where the files are.
        process: this process's number.
    """

    def __init__(self, folder: Path, process: int = 0) -> None:
        self.folder = folder
        self.file = folder / f"answers-{process}.jsonl"

    def read(self) -> dict[tuple[str, str, str], Given]:
        """All answers, each once.

        Raises:
            ValueError: a line other than a file's last is no answer; the line is named.
        """
        found: dict[tuple[str, str, str], Given] = {}
        for file in sorted(self.folder.glob(PATTERN)):
            for given in _lines(file):
                found.setdefault(given.key, given)
        return found

    def mend(self) -> None:
        """Cut off this process's last line where writing it was cut off."""
        if not self.file.is_file():
            return
        content = self.file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            with self.file.open("r+b") as stream:
                stream.truncate(len(whole))

    def write(self, answers: Iterable[Given]) -> None:
        """Append answers; they are with the operating system when this returns, and outlive this process."""
        lines = "".join(json.dumps(_plain(given), ensure_ascii=False) + "\n" for given in answers)
        with self.file.open("ab", buffering=0) as stream:
            stream.write(lines.encode())


def _plain(given: Given) -> dict[str, Any]:
    values = asdict(given)
    if not given.scores:
        del values["scores"]
    return values


def _lines(file: Path) -> Iterator[Given]:
    lines = file.read_bytes().split(b"\n")
    # What follows the last line's end is a line that was being written when the program was killed.
    for number, line in enumerate(lines[:-1], start=1):
        try:
            values = json.loads(line)
            yield Given(**values | {"scores": tuple(values.get("scores", ()))})
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}, line {number} is no answer of a sweep: {error}. Remove it.") from error
