"""A small real model that ships with the package, and recordings it can be tried on.

The model reads strings of spoken digits, captions clips of environmental sounds and answers multiple choice questions
about them; it is a plain Qwen2-Audio model of 2.35 million parameters. What it can do, and
how it was made, is in its README.md; `test_sets` has what it is asked there.
"""

import json
from pathlib import Path

__all__ = ["SMALL_MODEL", "recordings"]

_HERE = Path(__file__).resolve().parent

SMALL_MODEL: Path = _HERE / "digits_and_sounds"
"""The folder of the checkpoint, for ``from_pretrained``."""


def recordings() -> list[tuple[Path, str]]:
    """The shipped recordings (16 kHz mono files) with the digits spoken in each, in words.

    Example:
        >>> from hf_tokcomp.checkpoints import recordings
        >>> path, text = recordings()[0]
        >>> path.name, text
        ('slow-american.flac', 'seven three one zero nine')
    """
    folder = _HERE / "recordings"
    listed = json.loads((folder / "recordings.json").read_text(encoding="utf-8"))
    return [(folder / entry["audio"], entry["text"]) for entry in listed]
