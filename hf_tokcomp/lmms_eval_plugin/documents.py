"""Audio of a task's documents, without torchcodec: for the tasks here and for YAML files of your own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..audio.loading import load_audio
from ..data.arrow_tables import undecoded

__all__ = ["audio_column", "doc_to_audio", "undecoded"]  # what YAML files name

COLUMNS = ("audio", "context")
"""Where benchmarks have their recordings."""
RATE = 16_000


def doc_to_audio(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A document's recording, decoded as lmms-eval's own models want it: for ``doc_to_visual``.

    Raises:
        ValueError: it has none.
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
