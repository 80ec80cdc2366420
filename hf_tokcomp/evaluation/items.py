"""`read_items`: read a benchmark's items from a Hub id, a table, a folder or the original corpus."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets

from ..data.checked import AudioCheck, check_audio, report
from ..data.columns import AUDIO, TEXT, find_column, has_column, required_column, texts, values
from ..data.inline import audio_table
from ..data.sources import Source
from ..data.table import Table
from .options import chosen, options
from .task import Item, Row, Task

ROLES = ("audio", "text", "question", "choices", "subset", "id", "recordings")
USUAL = {"audio": AUDIO, "text": TEXT}
SHORTEST = 0.08  # seconds: two audio tokens


@dataclass(frozen=True)
class Dataset:
    """Where a task's items come from.

    Args:
        name: Hub id, table or folder; None for the task's default.
        config_name: configuration on the Hub; None for the task's default.
        split: the split; None for the task's default.
        columns: column names by role, replacing the task's; for texts, several names joined by ``+``.
        count: use only this many items, from the first; for the small model's tasks, how many to make (500 if None).
        seed: seed for randomly generated items.
        skip_bad: leave out rows that cannot be used and report them, instead of stopping.
    """

    name: str | None = None
    config_name: str | None = None
    split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    count: int | None = None
    seed: int = 0
    skip_bad: bool = False


@dataclass(frozen=True, eq=False)
class Items:
    """The items of a task.

    Args:
        items: in the order of the benchmark.
        audio: rows ``{"audio": ...}`` in a form that `hf_tokcomp.audio.load_audio` takes; from a table, undecoded and
            read on demand.
        rows: for each item, the index of its row in `audio`.
        samples: number of audio samples of each item, at the requested rate.
        dataset: name of the source; for a folder or file, only its own name.
        part: configuration and split, if chosen.
        skipped: number of bad rows that were left out.
        digest: hash of everything but the audio itself, to tell whether two runs used the same items.
        rate: sampling rate in Hz.
    """

    items: list[Item]
    audio: Sequence[Mapping[str, Any]] | datasets.Dataset
    rows: list[int]
    samples: list[int]
    dataset: str
    part: str = ""
    skipped: int = 0
    digest: str = ""
    rate: int = 16_000

    @property
    def seconds(self) -> float:
        """Total duration of all items."""
        return round(sum(self.samples) / self.rate, 3)

    def audio_of(self, place: int) -> Any:
        """The audio of an item, in a form that `hf_tokcomp.audio.load_audio` takes."""
        return self.audio[self.rows[place]]["audio"]


def read_items(task: Task, where: Dataset, sampling_rate: int) -> Items:
    """Read the items of a task and check every recording.

    Raises:
        FileNotFoundError: the data do not exist.
        ValueError: no dataset is given and the task has no default, a column is missing, or rows are bad.
        ConnectionError: the Hub could not be reached.
    """
    unknown = sorted(set(where.columns) - set(ROLES))
    if unknown:
        raise ValueError(f"There is no role {unknown[0]!r} for a column; there are {', '.join(ROLES)}.")
    name = where.name or next(iter(task.sources), None)
    if name is None and task.folder is not None:
        name = str(task.folder)
    if name is None and task.variable:
        name = os.environ.get(task.variable)
    if name is None:
        raise ValueError(f"The task {task.name} needs a data set: name one with --dataset {task.name}=FOLDER.")
    folder = Path(name).expanduser()
    made = task.make(folder, where.split, where.count, where.seed) if task.make and folder.is_dir() else None
    config, split = task.sources.get(name, (None, task.split))
    config, split = where.config_name or config, where.split or split
    if made is not None:
        table, columns, part = Table(name, made, folder), {role: role for role in made[0]}, where.split or ""
    else:
        table = Source(split, config).open(name)
        if not len(table.content):
            raise ValueError(f"{table.name} has no rows.")
        columns = _columns(task, table, where.columns)
        part = " ".join(filter(None, (config, split))) if not folder.is_file() else ""
    return _Reading(task, table, columns, where, sampling_rate).items(part)


def data_name(name: str) -> str:
    """The name of the data in tables: a file name without its extension, a folder name, or a Hub id.

    A table with a generic file name is called by the name of its folder.
    """
    path = Path(name).expanduser()
    if not path.exists():
        return name
    path = path.absolute()
    if not path.is_file():
        return path.name
    return path.parent.name if path.stem in ("manifest", "metadata") else path.stem


def data_label(name: str) -> str:
    """The source of the data in results: the name of a file or folder without its path, or a Hub id.

    The location on this machine is private and may change; the digest identifies the contents.
    """
    path = Path(name).expanduser()
    return path.absolute().name if path.exists() else name


def _columns(task: Task, table: Table, given: Mapping[str, str]) -> dict[str, str]:
    """The column for each role that the table provides."""
    found: dict[str, str] = {}
    for role in ROLES:
        usual = task.columns.get(role, ("recordings",) if role == "recordings" else ())
        if role in given:
            usual = (given[role],)
            for name in given[role].split("+"):
                if not has_column(table, name):
                    find_column(table, role, name, ())  # raises
        fits = [name for name in usual if all(has_column(table, each) for each in name.split("+"))]
        if not fits and role in USUAL and role not in given:
            fits = [required_column(table, role, None, tuple(dict.fromkeys((*usual, *USUAL[role]))))]
        if fits:
            found[role] = fits[0]
        elif role in ("question", "choices") and usual and not (task.own and role == "question"):
            raise ValueError(
                f"{table.name} has the columns {', '.join(table.columns)}, of which none is its {role}: name it with "
                f"--columns {role}:NAME."
            )
    return found


class _Reading:
    """Converts a table to items; `wrong` collects the problems with its rows."""

    def __init__(self, task: Task, table: Table, columns: Mapping[str, str], where: Dataset, rate: int) -> None:
        self.task, self.table, self.columns, self.where, self.rate = task, table, columns, where, rate
        self.audio, self.wrong = audio_table(table, columns["audio"], rate)

    def items(self, part: str) -> Items:
        rows = [row for row in self._rows() if not self.task.subsets or row.get("subset") in self.task.subsets]
        rows = rows[: self.where.count]
        check = AudioCheck(True, SHORTEST, None, self.rate)
        # Only the audio that is used is decoded.
        found, samples = check_audio(self.audio, [row["audio"] for row in rows], check, None)
        self.wrong |= found
        report(self.table, self.wrong, self.where.skip_bad)
        rows = [row for row in rows if row["audio"] not in found]
        if not rows:
            raise ValueError(f"{self.table.name} has no item of {self.task.title or self.task.name}.")
        ids = [str(row.get("id", number)) for number, row in enumerate(rows)]
        if len(set(ids)) < len(ids):  # duplicate ids would mix up answers
            ids = [str(number) for number in range(len(rows))]
        items = [_item(*pair) for pair in zip(rows, ids, strict=True)]
        places = [row["audio"] for row in rows]
        lengths = [samples[place] for place in places]
        label = data_label(self.table.name)
        return Items(
            items, self.audio, places, lengths, label, part, len(self.wrong), digest(items, lengths), self.rate
        )

    def _rows(self) -> list[Row]:
        """The valid rows, with those of the same item merged."""
        plain = {role: values(self.table, name) for role, name in self.columns.items() if role not in USUAL}
        references = self._references()
        rows: list[Row] = []
        for number in range(len(self.audio)):
            row = {role: column[number] for role, column in plain.items()} | {"audio": number}
            try:
                if number not in self.wrong:
                    rows.append(self._resolved(row | {"text": references[number]}, number))
            except ValueError as error:
                self.wrong[number] = str(error)
        return self.task.merge(rows) if self.task.merge is not None else rows

    def _references(self) -> list[list[str]]:
        """The texts of every row, from one or more columns."""
        found: list[list[str]] = [[] for _ in range(len(self.table.content))]
        for column in self.columns["text"].split("+"):
            for row, value in enumerate(values(self.table, column)):
                try:
                    found[row] += [text for text in texts(value) if text]
                except ValueError as error:
                    self.wrong.setdefault(row, str(error))
        for row, several in enumerate(found):
            if not several:
                self.wrong.setdefault(row, "the text is empty")
        return found

    def _resolved(self, row: Row, number: int) -> Row:
        """The row with its options as a tuple, its answers resolved to options, and the names of its recordings."""
        if row.get("choices") is not None and len(row["choices"]):
            row["choices"] = options(row["choices"])
            row["text"] = [chosen(text, row["choices"]) for text in row["text"]]
        given = row.get("recordings")
        names = tuple(map(str, given)) if given is not None and len(given) else (self._recording(number),)
        return row | {"recordings": names, "recording": "+".join(names)}

    def _recording(self, number: int) -> str:
        """A location-independent name for a recording: its path within the data, or a digest of its bytes."""
        stored = self.audio[number]["audio"]
        if stored["bytes"] is not None:
            return hashlib.sha256(stored["bytes"]).hexdigest()[:16]
        path = str(stored["path"])
        inside = self.table.folder is not None and os.path.isabs(path)
        return Path(os.path.relpath(path, self.table.folder)).as_posix() if inside else path


def _item(row: Row, name: str) -> Item:
    return Item(
        id=name,
        question=str(row.get("question") or ""),
        references=tuple(row["text"]),
        choices=() if row.get("choices") is None else tuple(row["choices"]),
        recordings=tuple(row["recordings"]),
        subset=str(row.get("subset") or ""),
    )


def digest(items: Sequence[Item], samples: Sequence[int]) -> str:
    """Hash of everything but the audio itself: the questions, the right answers, and the length of each recording."""
    said = [[item.id, item.question, item.references, item.choices, item.recordings, item.subset] for item in items]
    return hashlib.sha256(json.dumps([said, samples], ensure_ascii=False).encode()).hexdigest()[:16]
