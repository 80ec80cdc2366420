"""Audio of a task's documents without torchcodec, for the tasks here and for your own YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..audio.loading import load_audio
from ..data.arrow_tables import undecoded

__all__ = ["audio_column", "doc_to_audio", "undecoded"]  # used in YAML files

COLUMNS = ("audio", "context")
"""Columns in which benchmarks store recordings."""
RATE = 16_000


def doc_to_audio(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The recording of a document, decoded as lmms-eval's own models expect it: for ``doc_to_visual``.

    Raises:
        ValueError: the document has none.
    """
    return [{"array": load_audio(doc[audio_column(doc)], RATE), "sampling_rate": RATE}]


def audio_column(columns: Any) -> str:
    """The name of the column with the recordings.

    Raises:
        ValueError: there is none.
    """
    for name in COLUMNS:
        if name in columns:
            return name
    raise ValueError(f"No column is named {' or '.join(COLUMNS)}; there are {', '.join(columns)}.")
