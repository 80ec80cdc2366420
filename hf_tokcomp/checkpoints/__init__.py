"""A small real model that ships with the package, and recordings to try it on.

The model reads strings of spoken digits, captions clips of environmental sounds and answers multiple-choice questions
about them; it is a plain Qwen2-Audio model with 2.35 million parameters. Its README.md describes its abilities and how
it was made; `test_sets` contains the test sets used there.
"""

import json
from pathlib import Path

__all__ = ["SMALL_MODEL", "recordings"]

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
    folder = _HERE / "recordings"
    listed = json.loads((folder / "recordings.json").read_text(encoding="utf-8"))
    return [(folder / entry["audio"], entry["text"]) for entry in listed]
