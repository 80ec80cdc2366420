"""The model of a command: a Reader whose libraries say no more than a command line wants to hear."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..inference.reader import Reader


def open_reader(name: str) -> Reader:
    """A `hf_tokcomp.inference.reader.Reader`, with transformers and huggingface_hub quiet from here on.

    Args:
        name: as `hf_tokcomp.inference.recordings.find_model` returns it.

    Raises:
        what Reader raises.
    """
    from ..inference.reader import Reader
    from ..reporting.console import quiet_transformers

    quiet_transformers()
    return Reader(name)
