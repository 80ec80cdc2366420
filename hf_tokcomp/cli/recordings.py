"""The recordings a command works on: files named by the user, a manifest, or those that ship with the package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..audio import Samples, load_audio
from ..checkpoints import SMALL_MODEL
from ..checkpoints import recordings as shipped_recordings
from ..hub import MODEL_FILES, check_reachable

SMALL_MODEL_PROMPT = "Transcribe the digits."
GENERAL_PROMPT = "Please describe the audio in detail."


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording with what the model is asked about it.

    Args:
        name: path or address, as the user gave it.
        samples: ``(samples,)`` mono, at the model's rate.
        seconds: its length.
        prompt: the instruction.
        truth: what there is to read, where that is known.
    """

    name: str
    samples: Samples
    seconds: float
    prompt: str
    truth: str | None = None


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
    if not path.is_file():
        raise FileNotFoundError(f"There is no manifest {path}.")
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            values: Any = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where} is not valid JSON: {error}.") from error
        if not isinstance(values, dict) or not isinstance(values.get("audio"), str):
            raise ValueError(f'{where} is not an object with "audio": "PATH".')
        for key in ("text", "prompt"):
            if not isinstance(values.get(key, ""), str):
                raise ValueError(f'{where}: "{key}" is not a string.')
        audio = values["audio"]
        if "://" not in audio:
            audio = str(path.parent / audio)
        entries.append(Entry(audio, values.get("text"), values.get("prompt")))
    if not entries:
        raise ValueError(f"The manifest {path} has no entries.")
    return entries


def load_recordings(entries: Sequence[Entry], prompt: str | None, model: str, rate: int) -> list[Recording]:
    """Read all recordings, so that one that cannot be read says so before any time is spent on the others.

    Args:
        entries: the entries.
        prompt: the instruction for entries without their own; None for the model's default.
        model: the model's name, which decides about the default.
        rate: samples per second the model takes.
    """
    if prompt is None:
        prompt = SMALL_MODEL_PROMPT if Path(model).resolve() == SMALL_MODEL else GENERAL_PROMPT
    loaded = []
    for entry in entries:
        samples = load_audio(entry.audio, rate)
        asked = prompt if entry.prompt is None else entry.prompt
        loaded.append(Recording(entry.audio, samples, len(samples) / rate, asked, entry.truth))
    return loaded
