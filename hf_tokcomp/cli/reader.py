"""Open the model of a command: a `Reader` with its libraries' output silenced."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..inference.reader import Reader


def open_reader(name: str) -> Reader:
    """Open a `hf_tokcomp.inference.reader.Reader`, silencing transformers and huggingface_hub from here on.

    Args:
        name: as `hf_tokcomp.inference.recordings.find_model` returns it.

    Raises:
        whatever `Reader` raises.
    """
    from ..inference.reader import Reader
    from ..reporting.console import quiet_transformers

    quiet_transformers()
    return Reader(name)
