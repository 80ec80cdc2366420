"""Journal: every answer as a line of JSON the moment it is there, so that a sweep cut off at any moment goes on."""

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
Key = tuple[str, str, str]


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
        finished: whether the answer came to its own end, and was not cut off at the greatest length.
        tokens_asked: audio tokens that the budget asked for; None without a budget, or where that was not noted.
        seconds: to the first token and after it, where that was measured: this item's share of its batch.
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

    @property
    def key(self) -> Key:
        return self.task, self.item, self.run

    def to_dict(self) -> dict[str, Any]:
        """What is written down of it: everything that is not as usual."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.default is MISSING or getattr(self, field.name) != field.default
        }


class MemoryJournal:
    """A `Journal` of one process that is kept in memory, for answers that nobody goes on with."""

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
        """As that of `Journal`; there is nothing to lock."""
        return contextlib.nullcontext()

    def write(self, answers: Iterable[Given]) -> None:
        """Keep answers."""
        self._given += answers


class Journal:
    """The answers in a folder; each process writes to a file of its own and reads everybody's.

    Args:
        folder: where the files are.
        process: this process's number.
    """

    kept = " (what was answered before is kept)"
    """What an error says of the answers that were written before it."""

    def __init__(self, folder: Path, process: int = 0) -> None:
        self.folder = folder
        self.file = folder / f"answers-{process}.jsonl"
        self._stream: IO[bytes] | None = None

    def answers(self) -> Iterator[Given]:
        """All answers as they were written; one may be there twice.

        Raises:
            ValueError: a line other than a file's last is no answer; the line is named.
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
        """Within the ``with`` block this process may `write`, and no other to the same file.

        A last line that was cut off, where writing it was, is taken away first.

        Raises:
            RuntimeError: another program is writing to it.
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
        """Append answers; they are with the operating system when this returns, and outlive this process.

        Raises:
            OSError: the disk is full, say; what was written of these answers is taken back.
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
    # What follows the last line's end is a line that was being written when the program was killed.
    for number, line in enumerate(lines[:-1], start=1):
        try:
            values = json.loads(line)
            yield Given(**values | {name: tuple(values.get(name, ())) for name in ("scores", "seconds")})
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{file}, line {number} is no answer of a sweep: {error}. Remove it.") from error


def _lock(stream: IO[bytes], file: Path) -> None:
    try:
        import fcntl
    except ImportError:  # on Windows; two programs on one folder are the user's own business there
        return
    try:
        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise RuntimeError(f"Another program is writing to {file}: wait for it, or name another folder.") from error
