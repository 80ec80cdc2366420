"""A small real model that ships with the package, recordings to try it on, and real speech for models that read it.

The model reads strings of spoken digits, captions clips of environmental sounds and answers multiple-choice questions
about them; it is a plain Qwen2-Audio model with 2.35 million parameters. Its README.md describes its abilities and how
it was made; `test_sets` contains the test sets used there. What the speech is and where it is from is in
``librispeech/README.md``.
"""

import json
from pathlib import Path

__all__ = ["SMALL_MODEL", "recordings", "speech"]

_HERE = Path(__file__).resolve().parent

SMALL_MODEL: Path = _HERE / "digits_and_sounds"
"""The folder of the checkpoint, for ``from_pretrained``."""


def recordings() -> list[tuple[Path, str]]:
    """The shipped recordings (16 kHz mono files), each with its spoken digits in words.

    Example:
        >>> from hf_tokcomp.checkpoints import recordings
        >>> path, text = recordings()[0]
        >>> path.name, text
        ('slow-american.flac', 'seven three one zero nine')
    """
    return _listed("recordings", "recordings.json")


def speech() -> list[tuple[Path, str]]:
    """Ten sentences of LibriSpeech by ten people (16 kHz mono files), each with its words in lower case.

    They are under CC BY 4.0. The shipped model cannot read them; a pretrained model can.

    Example:
        >>> from hf_tokcomp.checkpoints import speech
        >>> path, text = speech()[3]
        >>> path.name, text
        ('2414-128291-0006.flac', 'he would not be rid of his affliction')
    """
    return _listed("librispeech", "speech.json")


def _listed(folder: str, file: str) -> list[tuple[Path, str]]:
    listed = json.loads((_HERE / folder / file).read_text(encoding="utf-8"))
    return [(_HERE / folder / entry["audio"], entry["text"]) for entry in listed]
