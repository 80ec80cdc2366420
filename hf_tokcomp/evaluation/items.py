"""read_items: a benchmark's items from a Hub id, a table, a folder or the corpus itself."""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from ..data.checked import AudioCheck, check_audio, listed
from ..data.columns import find_column, texts, values
from ..data.inline import audio_table
from ..data.sources import Source, Table
from .task import Item, Row, Task, letter

logger = logging.getLogger(__name__)
ROLES = ("audio", "text", "question", "choices", "subset", "id")


@dataclass(frozen=True)
class Dataset:
    """Where a task's items come from.

    Args:
        name: Hub id, table or folder; None for the task's own.
        config_name: which configuration on the Hub; None for the task's own.
        split: which part; None for the task's own.
        columns: names of columns by role, in place of the task's; several joined by ``+`` for texts.
        count: the first so many items; of the small model's tasks, how many are made (500 if None).
        seed: of items that are made at random.
        skip_bad: leave out rows that cannot be used, and say so, instead of stopping.
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
    """A task's items.

    Args:
        items: in the order of the benchmark.
        audio: with a column ``audio``, ``{"bytes", "path"}`` undecoded; read when it is needed.
        rows: each item's row of it.
        samples: of each item's audio, at the rate asked for.
        dataset: the name they were found under.
        skipped: how many rows were left out as bad.
        digest: of ids, questions and references, to tell whether two runs asked the same.
    """

    items: list[Item]
    audio: datasets.Dataset
    rows: list[int]
    samples: list[int]
    dataset: str
    skipped: int
    digest: str

    def audio_of(self, place: int) -> Any:
        """The audio of an item, as `hf_tokcomp.audio.load_audio` takes it."""
        return self.audio[self.rows[place]]["audio"]


def read_items(task: Task, where: Dataset, sampling_rate: int) -> Items:
    """The items of a task, every recording checked.

    Raises:
        FileNotFoundError: the data are not there.
        ValueError: no data set is named and the task knows none, a column is missing, or rows are bad.
        ConnectionError: the Hub could not be asked.
    """
    name = where.name or task.dataset or (os.environ.get("HF_TOKCOMP_DATA") if task.make is not None else None)
    if name is None:
        raise ValueError(f"The task {task.name} needs a data set: name one with --dataset {task.name}=FOLDER.")
    unknown = sorted(set(where.columns) - set(ROLES))
    if unknown:
        raise ValueError(f"There is no role {unknown[0]!r} for a column; there are {', '.join(ROLES)}.")
    folder = Path(name).expanduser()
    rows = task.make(folder, where.count, where.seed) if task.make is not None and folder.is_dir() else None
    if rows is not None:
        table = Table(name, rows, folder)
        names = {role: role for role in rows[0]}
    else:
        split = where.split or task.split
        table = Source(split, where.config_name or task.config_name).open(name)
        names = _columns(task, table, where.columns)
    if not len(table.content):
        raise ValueError(f"{table.name} has no rows.")
    return _checked(task, table, names, where, sampling_rate)


def _columns(task: Task, table: Table, given: Mapping[str, str]) -> dict[str, str]:
    """The column of each role that the table has."""
    found: dict[str, str] = {}
    for role in ROLES:
        usual = task.columns.get(role, ())
        if role in given:
            usual = (given[role],)
            find_column(table, role, given[role].split("+")[0], ())
        fits = [name for name in usual if set(name.split("+")) <= set(table.columns)]
        if fits:
            found[role] = fits[0]
        elif role in ("audio", "text") or (role in ("question", "choices") and usual):
            raise ValueError(
                f"{table.name} has the columns {', '.join(table.columns)}, of which none is its {role} "
                f"({' or '.join(usual) or 'no usual name'}): name it with --columns {role}=NAME."
            )
    return found


def _checked(task: Task, table: Table, names: Mapping[str, str], where: Dataset, rate: int) -> Items:
    audio, wrong = audio_table(table, names["audio"], rate)
    plain = {role: values(table, column) for role, column in names.items() if role not in ("audio", "text")}
    references = _references(table, names["text"], wrong)
    good = [row for row in range(len(audio)) if row not in wrong]
    found, samples = check_audio(audio, good, AudioCheck(True, 0.08, None, rate), None)
    wrong |= found
    rows: list[Row] = []
    for row in range(len(audio)):
        made = {role: column[row] for role, column in plain.items()} | {"audio": row, "text": references[row]}
        try:
            if row not in wrong:
                rows.append(_resolved(made, audio, row))
        except ValueError as error:
            wrong[row] = str(error)
    unit = "row" if table.lines is None else "line"
    if wrong:
        bad = sorted((row if table.lines is None else table.lines[row], reason) for row, reason in wrong.items())
        text = f"{len(bad)} of the {len(audio)} rows of {table.name} cannot be used:\n{listed(bad, unit)}"
        if not where.skip_bad or len(bad) == len(audio):
            raise ValueError(f"{text}\nPut them right, or leave them out with --skip-bad.")
        logger.warning("%s", text)
    merged = task.merge(rows) if task.merge is not None else rows
    kept = [row for row in merged if not task.subsets or row.get("subset") in task.subsets][: where.count]
    if not kept:
        raise ValueError(f"{table.name} has no item of {task.title}.")
    ids = [str(row.get("id", number)) for number, row in enumerate(kept)]
    if len(set(ids)) < len(ids):  # names that are not unique would mix answers up
        ids = [str(number) for number in range(len(kept))]
    items = [_item(*pair) for pair in zip(kept, ids, strict=True)]
    places = [row["audio"] for row in kept]
    # Where a folder lies on this machine is nobody else's business, and may change; the digest says what is in it.
    label = Path(table.name).name if Path(table.name).exists() else table.name
    return Items(items, audio, places, [samples[place] for place in places], label, len(wrong), _digest(items))


def _references(table: Table, columns: str, wrong: dict[int, str]) -> list[list[str]]:
    """The texts of every row, of one column or of several."""
    found: list[list[str]] = [[] for _ in range(len(table.content))]
    for column in columns.split("+"):
        for row, value in enumerate(values(table, column)):
            try:
                found[row] += [text for text in texts(value) if text]
            except ValueError as error:
                wrong.setdefault(row, str(error))
    for row, several in enumerate(found):
        if not several:
            wrong.setdefault(row, "the text is empty")
    return found


def _resolved(row: Row, audio: datasets.Dataset, number: int) -> Row:
    """The row with its options as a tuple, its answer among them, and the recording it is about."""
    if row.get("choices") is not None and len(row["choices"]):
        row["choices"] = options(row["choices"])
        row["text"] = [chosen(text, row["choices"]) for text in row["text"]]
    row.setdefault("recordings", ())
    row["recording"] = "+".join(row["recordings"]) or recording_name(audio[number]["audio"])
    return row


def options(value: Any) -> tuple[str, ...]:
    """The options of a question, given as a list, as JSON or as Python writes a list.

    Raises:
        ValueError: they cannot be read, or are fewer than two.
    """
    if isinstance(value, str):
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(value)
                break
            except (ValueError, SyntaxError):
                continue
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, str) or not isinstance(value, list | tuple | np.ndarray) or len(value) < 2:
        raise ValueError(f"the choices are {str(value)[:80]!r}, no list of options")
    return tuple(str(option).strip() for option in value)


def chosen(answer: str, choices: Sequence[str]) -> str:
    """The option that an answer names, by its words or by its letter.

    Raises:
        ValueError: it names none.
    """
    if answer in choices:
        return answer
    for place, choice in enumerate(choices):
        name = letter(place)
        if answer.strip("(). ") == name or answer.startswith((f"({name}) ", f"{name}. ", f"{name}) ")):
            return choice
    raise ValueError(f"the answer {answer!r} is none of the choices {', '.join(choices)}")


def recording_name(audio: Mapping[str, Any]) -> str:
    """A name for a recording that is the same wherever it lies: its file's, or else a digest of its bytes."""
    if audio["path"] and audio["bytes"] is None:
        return Path(audio["path"]).name
    return hashlib.sha256(audio["bytes"]).hexdigest()[:16]


def _item(row: Row, name: str) -> Item:
    return Item(
        id=name,
        question=str(row.get("question") or ""),
        references=tuple(row["text"]),
        choices=tuple(row.get("choices") or ()),
        recordings=tuple(row["recordings"]) or (row["recording"],),
        subset=str(row.get("subset") or ""),
    )


def _digest(items: Sequence[Item]) -> str:
    said = [[item.id, item.question, item.references, item.choices, item.recordings, item.subset] for item in items]
    return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode()).hexdigest()[:16]
