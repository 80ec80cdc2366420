"""The recordings a command works on: files given by the user, a manifest, or those that ship with the package."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..audio.addresses import is_address, scheme
from ..audio.folders import recordings_in
from ..audio.loading import UNREADABLE, Samples, load_audio
from ..checkpoints import SMALL_MODEL
from ..checkpoints import recordings as shipped_recordings
from ..hub.ids import MODEL_FILES, check_reachable
from ..messages import shortened
from ..reporting.options import one_of

if TYPE_CHECKING:
    from ..config.config import CompressionConfig
    from ..data.rows import Row

GENERAL_PROMPT = "Please describe the audio in detail."
"""Instruction for a model that comes without a prompt."""
LONGEST_PATH = 4096
NAMED = 5


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording and the prompt for it.

    Args:
        name: path or address, as given by the user; for a data URL, its beginning and end.
        samples: ``(samples,)``, mono, at the model's sampling rate.
        seconds: its length.
        prompt: the instruction.
        truth: the reference text, if known.
        dropped: seconds at the end that the model does not read.
    """

    name: str
    samples: Samples
    seconds: float
    prompt: str
    truth: str | None = None
    dropped: float = 0.0

    @property
    def title(self) -> str:
        """The file name without its folder."""
        return self.name if scheme(self.name) == "data" else Path(self.name).name


@dataclass(frozen=True)
class Loaded:
    """The recordings that could be loaded, and the name of and reason for each one that could not."""

    recordings: list[Recording]
    skipped: list[tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """The skipped recordings, for reports."""
        return {"skipped": [{"audio": name, "reason": reason} for name, reason in self.skipped]}

    def print_skipped(self) -> None:
        """Print the skipped recordings, if any."""
        if self.skipped:
            print(f"\nSkipped {len(self.skipped)} of {len(self.skipped) + len(self.recordings)} recordings:")
        for name, reason in self.skipped:
            print(f"  {shortened(name)}: {reason}")


@dataclass(frozen=True)
class Entry:
    """A recording before it is loaded.

    Args:
        audio: a path, an address, or ``{"bytes", "path"}``, whose path is only a name.
        truth: the reference text, if known.
        prompt: its own instruction, if it has one.
        place: the table and line or row that it comes from, if any.
        wrong: why it cannot be loaded, if that is already known.
    """

    audio: str | Mapping[str, Any]
    truth: str | None = None
    prompt: str | None = None
    place: str | None = None
    wrong: str | None = None

    @property
    def name(self) -> str:
        """Its name in reports: paths and addresses in full, so that programs can find them; data URLs shortened."""
        name = str(self.audio if isinstance(self.audio, str) else self.audio["path"]) or str(self.place)
        return shortened(name) if scheme(name) == "data" or len(name) > LONGEST_PATH else name


def find_model(name: str | None) -> str:
    """Return the model's name, or the folder of the shipped model.

    Raises:
        FileNotFoundError: no name was given and this installation has no shipped model.
        OSError: it is a Hub id and the Hub does not respond; see `check_reachable`.
    """
    if name is not None:
        check_reachable(name, MODEL_FILES)
        return name
    if not (SMALL_MODEL / "config.json").is_file():
        raise FileNotFoundError(f"The shipped model is not at {SMALL_MODEL}; name a model with --model.")
    return str(SMALL_MODEL)


def find_entries(
    audio: Sequence[str] | None,
    manifest: str | None,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    most: int | None = None,
) -> list[Entry]:
    """The entries of a command line: audio arguments, then the manifest; the shipped recordings if there is neither.

    Args:
        audio: files, addresses, and folders, which stand for all the recordings in them.
        manifest: what `hf_tokcomp.data.load_examples` takes, or a folder of recordings without a table.
        split: the split of the manifest.
        columns: names of its columns by role.
        on_error: how to handle rows that cannot be used.
        most: return at most this many entries, from the first; None for all.

    Raises:
        FileNotFoundError: the manifest does not exist, or a folder contains no recording.
        ValueError: the manifest cannot be read, its rows are bad, or a split or columns are given without a manifest.
    """
    entries = [Entry(found) for name in audio or () for found in _expanded(name)]
    if manifest is None and (split is not None or columns):
        raise ValueError(f"{'--columns' if split is None else '--split'}: of which table? Add --dataset.")
    if manifest is not None and (most is None or most > len(entries)):
        from ..data.rows import read_rows  # `datasets` takes a second to import

        folder = Path(manifest).expanduser()
        folder = folder if os.path.isdir(folder) else folder.parent
        rows = read_rows(manifest, split=split, columns=columns, skip_bad=on_error == "skip", max_samples=most)
        entries += [_entry(row, folder) for row in rows]
    return (entries or [Entry(str(path), truth) for path, truth in shipped_recordings()])[:most]


def _expanded(audio: str) -> list[str]:
    """The path or address itself; for a folder, the paths of its recordings."""
    return [str(path) for path in recordings_in(Path(audio))] if os.path.isdir(audio) else [audio]


def _entry(row: Row, folder: Path) -> Entry:
    """An entry from a row of a table in a folder; its paths begin the way the user wrote the table's path."""
    content, path = row.audio["bytes"], row.audio["path"]
    if content is not None:
        return Entry({"bytes": content, "path": path or row.place}, row.text, row.prompt, row.place)
    if path is not None and not is_address(path) and not folder.is_absolute():
        path = _as_given(path, folder)
    return Entry(path or "", row.text, row.prompt, row.place, row.wrong)


def _as_given(path: str, folder: Path) -> str:
    """An absolute path, rewritten to begin like the given folder, or to be relative to the working directory."""
    for base in (folder, Path()):
        inside = os.path.relpath(path, base)
        if not inside.startswith(os.pardir):
            return str(base / inside)
    return path


class Reads(Protocol):
    """What must be known about the reader of the recordings: a `hf_tokcomp.inference.reader.Reader`."""

    rate: int

    @property
    def default_prompt(self) -> str: ...

    def check_length(self, name: str, samples: Samples, compression: CompressionConfig | None = None) -> float: ...


def load_recordings(
    entries: Sequence[Entry],
    prompt: str | None,
    reader: Reads,
    on_error: Literal["stop", "skip"] = "stop",
    compression: CompressionConfig | None = None,
) -> Loaded:
    """Load all recordings up front, so that a bad one is reported before any time is spent on the others.

    Args:
        entries: the entries.
        prompt: the instruction for entries without one; None for the one that comes with the model.
        reader: the reader they are for, which knows how long they may be.
        on_error: how to handle a recording that cannot be loaded: ``"stop"`` raises, ``"skip"`` goes on without it.
        compression: the compression to read them under, which says whether all of a long one is read; None for the
            checkpoint's own.

    Raises:
        FileNotFoundError: a recording does not exist.
        ValueError: a file is not audio or is too short; the message names it. With ``"skip"``, no recording is left.
    """
    if prompt is None:
        prompt = reader.default_prompt
    loaded = Loaded([], [])
    for entry in entries:
        try:
            recording = _load(entry, prompt, reader, compression)
        except UNREADABLE as error:
            said = str(error) if entry.place in (None, entry.name) else f"{entry.place}: {error}"
            if on_error == "stop" and len(entries) > 1:
                raise ValueError(f"{said} {one_of(len(entries))}") from error
            if on_error == "stop":
                raise
            loaded.skipped.append((entry.name, said))
        else:
            loaded.recordings.append(recording)
    if not loaded.recordings:
        first = "; ".join(reason for _, reason in loaded.skipped[:NAMED])
        raise ValueError(f"None of the {len(entries)} recordings can be read: {first}")
    return loaded


def _load(entry: Entry, prompt: str, reader: Reads, compression: CompressionConfig | None) -> Recording:
    if entry.wrong is not None:
        raise ValueError(f"{entry.wrong}.")
    samples = load_audio(entry.audio, reader.rate)
    seconds = len(samples) / reader.rate
    dropped = reader.check_length(shortened(entry.name), samples, compression)
    asked = prompt if entry.prompt is None else entry.prompt
    return Recording(entry.name, samples, seconds, asked, entry.truth, dropped)
