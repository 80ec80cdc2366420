"""`Journal`: writes every answer immediately as a line of JSON, so that an interrupted sweep can be resumed."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import IO, Any

from ..hub.whole_files import not_written

PATTERN = "answers-*.jsonl"
ROWS = ("scores", "seconds", "padding")
"""The fields of an answer that JSON writes as lists."""
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Given:
    """A recorded answer.

    Args:
        task: the task's name.
        item: the item's id.
        run: the run's key.
        text: the answer; for a choice by likelihood, the option.
        tokens_before: audio tokens before compression.
        tokens_after: audio tokens after compression.
        scores: the log-likelihood of each option, if computed.
        finished: whether the answer ended by itself rather than being cut off at the maximum length.
        tokens_asked: audio tokens that the budget allows; None without a budget, or if it was not recorded.
        seconds: time up to the first token, after it and, if the answer is spoken, for the speech, if measured: this
            item's share of its batch.
        transcript: what was heard in the spoken answer; None if it is not spoken.
        speech_seconds: length of the spoken answer; None if it is not spoken.
        padding: how many tokens before and after compression are padding behind the sound.
    """

    task: str
    item: str
    run: str
    text: str
    tokens_before: int
    tokens_after: int
    scores: tuple[float, ...] = ()
    finished: bool = True
    tokens_asked: int | None = None
    seconds: tuple[float, ...] = ()
    transcript: str | None = None
    speech_seconds: float | None = None
    padding: tuple[int, ...] = (0, 0)

    @property
    def key(self) -> Key:
        return self.task, self.item, self.run

    def to_dict(self) -> dict[str, Any]:
        """The values to write: those that differ from their defaults."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.default is MISSING or getattr(self, field.name) != field.default
        }


class MemoryJournal:
    """A single-process `Journal` kept in memory, for answers that need not be resumed from."""

    kept = ""
    """What an error says of the answers that were written before it."""

    def __init__(self) -> None:
        self._given: list[Given] = []

    def answers(self) -> Iterator[Given]:
        """All answers as they were written."""
        return iter(self._given)

    def read(self) -> dict[Key, Given]:
        """All answers, each once: the first that was written."""
        return {given.key: given for given in reversed(self._given)}

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Like that of `Journal`, but there is nothing to lock."""
        return contextlib.nullcontext()

    def write(self, answers: Iterable[Given]) -> None:
        """Store answers."""
        self._given += answers


class Journal:
    """The answers in a folder; each process writes to its own file and reads the files of all processes.

    Args:
        folder: the folder of the files.
        process: index of this process.
    """

    kept = " (what was answered before is kept)"
    """What an error says of the answers that were written before it."""

    def __init__(self, folder: Path, process: int = 0) -> None:
        self.folder = folder
        self.file = folder / f"answers-{process}.jsonl"
        self._stream: IO[bytes] | None = None

    def answers(self) -> Iterator[Given]:
        """All answers as they were written; an answer may occur twice.

        Raises:
            ValueError: a line other than the last of a file is not an answer; the message names the line.
        """
        for file in sorted(self.folder.glob(PATTERN)):
            yield from _lines(file)

    def read(self) -> dict[Key, Given]:
        """All answers, each once: the first that was written.

        Raises:
            ValueError: as for `answers`.
        """
        found: dict[Key, Given] = {}
        for given in self.answers():
            found.setdefault(given.key, given)
        return found

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Within the ``with`` block, this process may `write`, and no other process may write to the same file.

        First removes the last line if it is incomplete because writing was interrupted.

        Raises:
            RuntimeError: another program is writing to the file.
        """
        with self.file.open("a+b", buffering=0) as stream:
            _lock(stream, self.file)
            stream.seek(0)
            content = stream.read()
            stream.truncate(content.rfind(b"\n") + 1)
            self._stream = stream
            try:
                yield
            finally:
                self._stream = None

    def write(self, answers: Iterable[Given]) -> None:
        """Append answers and flush them to the operating system, so that they survive the end of this process.

        Raises:
            OSError: writing failed, for example because the disk is full; partially written answers are removed.
        """
        if self._stream is None:
            raise RuntimeError("Write within `with journal.writing():`.")
        left = memoryview("".join(_line(given) for given in answers).encode())
        end = os.fstat(self._stream.fileno()).st_size
        try:
            while left:
                left = left[self._stream.write(left) or 0 :]
        except OSError as error:
            self._stream.truncate(end)
            raise not_written(self.file, error, "every answer before is kept, and a second start goes on") from error


def _line(given: Given) -> str:
    return json.dumps(given.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"


def _lines(file: Path) -> Iterator[Given]:
    lines = file.read_bytes().split(b"\n")
    # Anything after the last newline is a line that was being written when the program was killed.
    for number, line in enumerate(lines[:-1], start=1):
        try:
            values = json.loads(line)
            yield Given(**values | {name: tuple(values[name]) for name in ROWS if name in values})
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}, line {number} is no answer of a sweep: {error}. Remove it.") from error


def _lock(stream: IO[bytes], file: Path) -> None:
    try:
        import fcntl
    except ImportError:  # on Windows, where the user must avoid running two programs on one folder
        return
    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise RuntimeError(f"Another program is writing to {file}: wait for it, or name another folder.") from error
