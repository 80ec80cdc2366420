"""The recordings a command works on: files named by the user, a manifest, or those that ship with the package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ..audio.addresses import is_address, scheme
from ..audio.loading import UNREADABLE, Samples, load_audio
from ..checkpoints import SMALL_MODEL
from ..checkpoints import recordings as shipped_recordings
from ..hub.ids import MODEL_FILES, check_reachable
from ..messages import shortened
from ..reporting.options import one_of

GENERAL_PROMPT = "Please describe the audio in detail."
"""What is asked of a model that brings no prompt of its own."""
LONGEST_PATH = 4096
NAMED = 5


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording with what the model is asked about it.

    Args:
        name: path or address, as the user gave it; of what is a file itself, the beginning and the end.
        samples: ``(samples,)`` mono, at the model's rate.
        seconds: its length.
        prompt: the instruction.
        truth: what there is to read, where that is known.
        dropped: seconds at its end that the model does not read.
    """

    name: str
    samples: Samples
    seconds: float
    prompt: str
    truth: str | None = None
    dropped: float = 0.0

    @property
    def title(self) -> str:
        """The name of the file alone."""
        return self.name if scheme(self.name) == "data" else Path(self.name).name


@dataclass(frozen=True)
class Loaded:
    """The recordings that could be read, and name and reason of each that could not."""

    recordings: list[Recording]
    skipped: list[tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """What a report says of those that were skipped."""
        return {"skipped": [{"audio": name, "reason": reason} for name, reason in self.skipped]}

    def print_skipped(self) -> None:
        """Name those that were skipped, if any were."""
        if self.skipped:
            print(f"\nSkipped {len(self.skipped)} of {len(self.skipped) + len(self.recordings)} recordings:")
        for name, reason in self.skipped:
            print(f"  {shortened(name)}: {reason}")


@dataclass(frozen=True)
class Entry:
    """A recording before it is read: where it is, and its own prompt and truth."""

    audio: str
    truth: str | None = None
    prompt: str | None = None


def find_model(name: str | None) -> str:
    """The model's name, or the folder of the shipped model.

    Raises:
        FileNotFoundError: no name was given and this installation has no shipped model.
        OSError: it is a name on the Hub, and the Hub gives no answer; see `check_reachable`.
    """
    if name is not None:
        check_reachable(name, MODEL_FILES)
        return name
    if not (SMALL_MODEL / "config.json").is_file():
        raise FileNotFoundError(f"The shipped model is not at {SMALL_MODEL}; name a model with --model.")
    return str(SMALL_MODEL)


def find_entries(audio: Sequence[str] | None, manifest: Path | None) -> list[Entry]:
    """The entries of a command line: files, then the manifest's; the shipped recordings where neither is given."""
    entries = [Entry(name) for name in audio or ()]
    if manifest is not None:
        entries += read_manifest(manifest)
    return entries or [Entry(str(path), truth) for path, truth in shipped_recordings()]


def read_manifest(path: Path) -> list[Entry]:
    """Entries from lines of JSON: ``{"audio": path relative to the manifest, "text": truth, "prompt": ...}``.

    Raises:
        FileNotFoundError: there is no such manifest.
        ValueError: a line is not such an object, or there is none; the line is named.
    """
    if not os.path.isfile(path):  # not path.is_file(), which raises where a name is too long
        raise FileNotFoundError(f"There is no manifest {shortened(str(path))}.")
    from ..data.text_tables import read_jsonl

    entries = []
    for values, number in zip(*read_jsonl(path), strict=True):
        where = f"{path}, line {number}"
        if not isinstance(values.get("audio"), str):
            raise ValueError(f'{where} is not an object with "audio": "PATH".')
        for key in ("text", "prompt"):
            if not isinstance(values.get(key, ""), str):
                raise ValueError(f'{where}: "{key}" is not a string.')
        audio = values["audio"] if is_address(values["audio"]) else str(path.parent / values["audio"])
        entries.append(Entry(audio, values.get("text"), values.get("prompt")))
    if not entries:
        raise ValueError(f"The manifest {path} has no entries.")
    return entries


class Reads(Protocol):
    """Who will read recordings, and what must be known of it: a `hf_tokcomp.inference.reader.Reader`."""

    rate: int

    @property
    def default_prompt(self) -> str: ...

    def check_length(self, name: str, samples: Samples) -> float: ...


def load_recordings(
    entries: Sequence[Entry], prompt: str | None, reader: Reads, on_error: Literal["stop", "skip"] = "stop"
) -> Loaded:
    """Read all recordings, so that one that cannot be read says so before any time is spent on the others.

    Args:
        entries: the entries.
        prompt: the instruction for entries without their own; None for the one that comes with the model.
        reader: who will read them, and knows how long they may be.
        on_error: what becomes of a recording that cannot be read: ``"stop"`` raises, ``"skip"`` goes on without.

    Raises:
        FileNotFoundError: a recording is not there.
        ValueError: one is no audio or too short; the message names it. With ``"skip"``, none is left.
    """
    if prompt is None:
        prompt = reader.default_prompt
    loaded = Loaded([], [])
    for entry in entries:
        try:
            recording = _load(entry, prompt, reader)
        except UNREADABLE as error:
            if on_error == "stop" and len(entries) > 1:
                raise ValueError(f"{error} {one_of(len(entries))}") from error
            if on_error == "stop":
                raise
            loaded.skipped.append((_name(entry.audio), str(error)))
        else:
            loaded.recordings.append(recording)
    if not loaded.recordings:
        first = "; ".join(reason for _, reason in loaded.skipped[:NAMED])
        raise ValueError(f"None of the {len(entries)} recordings can be read: {first}")
    return loaded


def _load(entry: Entry, prompt: str, reader: Reads) -> Recording:
    samples = load_audio(entry.audio, reader.rate)
    name, seconds = _name(entry.audio), len(samples) / reader.rate
    dropped = reader.check_length(shortened(name), samples)
    return Recording(name, samples, seconds, prompt if entry.prompt is None else entry.prompt, entry.truth, dropped)


def _name(audio: str) -> str:
    """How reports call a recording: paths and addresses whole, as programs look for them; not what is a file itself."""
    return shortened(audio) if scheme(audio) == "data" or len(audio) > LONGEST_PATH else audio
