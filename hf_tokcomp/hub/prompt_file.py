"""prompt.json: the default prompt of a model or adapter, stored next to its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .json_text import parse_json
from .whole_files import write_whole

PROMPT_NAME = "prompt.json"
LONGEST = 20_000
"""Characters of a prompt; more than any model is asked."""


@dataclass(frozen=True)
class StoredPrompt:
    """A model's default prompt.

    Args:
        text: the instruction, or with the audio placeholder in it the whole prompt.
        task: the kind of task, such as ``asr``; None if unknown.
    """

    text: str
    task: str | None = None

    def to_json(self) -> str:
        """The file's text."""
        values = {"prompt": self.text} | ({} if self.task is None else {"task": self.task})
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def parse_prompt(data: bytes, where: str) -> StoredPrompt:
    """Parse the file.

    Args:
        data: the file's content.
        where: description of the source for messages.

    Raises:
        ValueError: it is not an object with a string ``prompt`` and optionally a string ``task``.
    """
    values: Any = parse_json(data, where)
    text, task = (values.get("prompt"), values.get("task")) if isinstance(values, dict) else (None, None)
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST:
        raise ValueError(f'{where} must hold {{"prompt": TEXT}}, a text of at most {LONGEST} characters.')
    if task is not None and not isinstance(task, str):
        raise ValueError(f"{where}: the task must be a text.")
    return StoredPrompt(text, task)


def write_prompt(folder: Path, prompt: StoredPrompt | None) -> None:
    """Write the file into a folder; None removes the file of an earlier run."""
    file = folder / PROMPT_NAME
    if prompt is None:
        file.unlink(missing_ok=True)
    else:
        write_whole(file, prompt.to_json())
