"""Options for spoken answers, shared by `run`, `compare` and `eval`, and where `run` writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .groups import SPEECH

if TYPE_CHECKING:
    from ..evaluation.speech import Speech
    from ..evaluation.task import Task
    from ..inference.recordings import Entry

SpeakOption = Annotated[
    Path | None,
    typer.Option(
        "--speak",
        metavar="FILE.wav|DIR",
        rich_help_panel=SPEECH,
        help="Also speak the answers: for one recording into a .wav file; for several into a folder, one file each, "
        "named like the recording. For models that speak; the text is the same as without.",
    ),
]
SpeakerOption = Annotated[
    str | None,
    typer.Option("--speaker", metavar="NAME", rich_help_panel=SPEECH, help="Name of the voice. Default: the model's."),
]
MaxSpeechTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-speech-tokens",
        metavar="N",
        min=1,
        rich_help_panel=SPEECH,
        help="Maximum number of speech tokens (Qwen2.5-Omni: 50 per second). Default: the model's own limit.",
    ),
]
AsrModelOption = Annotated[
    str | None,
    typer.Option(
        "--asr-model",
        metavar="NAME",
        rich_help_panel=SPEECH,
        help="Folder or Hub id of the Whisper that transcribes spoken answers for s2st, such as "
        "openai/whisper-large-v3.",
    ),
]
TargetLanguageOption = Annotated[
    str | None,
    typer.Option(
        "--target-language",
        metavar="LANGUAGE",
        rich_help_panel=SPEECH,
        help="The language of the spoken answers, for s2st, as Whisper names it: en or english, zh or chinese.",
    ),
]


def speech_of(
    tasks: Sequence[Task],
    asr_model: str | None,
    language: str | None,
    speaker: str | None,
    max_speech_tokens: int | None,
) -> Speech | None:
    """How answers are spoken and written down again; None if no task is spoken.

    Raises:
        ValueError: a spoken task lacks an option, or an option is given without such a task.
    """
    from ..evaluation.speech import Speech

    spoken = [task.name for task in tasks if task.spoken]
    needed = {"--asr-model": asr_model, "--target-language": language}
    if not spoken:
        others = {"--speaker": speaker, "--max-speech-tokens": max_speech_tokens}
        given = [name for name, value in (needed | others).items() if value is not None]
        if given:
            raise ValueError(f"{', '.join(given)}: no task here is spoken but s2st; name that, or leave it out.")
        return None
    if asr_model is None or language is None:
        missing = " and ".join(name for name, value in needed.items() if value is None)
        raise ValueError(
            f"{spoken[0]}: what the model says is written down before it is scored. Add {missing}, as in --asr-model "
            "openai/whisper-large-v3 --target-language en."
        )
    return Speech(asr_model, language, speaker, max_speech_tokens)


def check_target(target: Path, entries: Sequence[Entry]) -> None:
    """Raise, before a model is loaded, if spoken answers cannot be written to ``--speak``.

    Args:
        target: its value.
        entries: the recordings.

    Raises:
        ValueError: several recordings are to go into one file, or an answer would replace a recording.
        FileNotFoundError: the folder that it is to be in does not exist.
        IsADirectoryError, NotADirectoryError: there is a folder where a file belongs, or the reverse.
    """
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.absolute().parent} to write {target.name} to.")
    if one_file(target):
        if len(entries) > 1:
            raise ValueError(
                f"--speak {target}: there are {len(entries)} recordings, and this is one file. Name a folder, for a "
                "file each."
            )
        if target.is_dir():
            raise IsADirectoryError(f"--speak {target} is a folder; name a file that ends in .wav.")
    elif target.exists() and not target.is_dir():
        raise NotADirectoryError(f"--speak {target} is a file that does not end in .wav; name a .wav file or a folder.")
    read = {os.path.realpath(entry.audio): entry.name for entry in entries if isinstance(entry.audio, str)}
    for file in spoken_files(target, [entry.name for entry in entries]):
        if os.path.realpath(file) in read:
            raise ValueError(f"--speak {target}: {file} is one of the recordings; name another place for the answers.")


def one_file(target: Path) -> bool:
    """Whether ``--speak`` names a file rather than a folder."""
    return target.suffix.lower() == ".wav"


def spoken_files(target: Path, names: Sequence[str]) -> list[Path]:
    """The file for each recording's spoken answer.

    Args:
        target: the value of ``--speak``.
        names: paths, addresses or other names of the recordings. In a folder, an answer is named as its recording,
            with a number where several are named alike.
    """
    if one_file(target):
        return [target]
    found: list[Path] = []
    taken: set[str] = set()
    for name in names:
        stem = re.sub(r"[^\w.-]+", "_", Path(name.partition("?")[0]).stem)[-100:].strip("._") or "answer"
        number, called = 1, stem
        while called.lower() in taken:
            number += 1
            called = f"{stem}-{number}"
        taken.add(called.lower())
        found.append(target / f"{called}.wav")
    return found
