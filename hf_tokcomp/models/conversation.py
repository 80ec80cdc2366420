"""Whole prompts and their recordings as conversations, for processors that take nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile


def conversations(prompts: Sequence[str], samples: Sequence[Any], placeholder: str, rate: int) -> list[list[Any]]:
    """A conversation of one user turn for every prompt, with a recording in the place of every placeholder.

    Args:
        prompts: whole prompts.
        samples: ``(samples,)`` mono each, of all prompts in order.
        placeholder: what stands for a recording.
        rate: samples per second.

    Raises:
        ValueError: there are more or fewer recordings than placeholders.
    """
    wanted = sum(prompt.count(placeholder) for prompt in prompts)
    if wanted != len(samples):
        raise ValueError(f"The prompts have {wanted} times {placeholder}, and there are {len(samples)} recordings.")
    recordings = iter(samples)
    found = []
    for prompt in prompts:
        content: list[dict[str, str]] = []
        for number, text in enumerate(prompt.split(placeholder)):
            if number:
                content.append({"type": "audio", "base64": _as_wav(next(recordings), rate)})
            if text.strip():
                content.append({"type": "text", "text": text})
        found.append([{"role": "user", "content": content}])
    return found


def _as_wav(samples: Any, rate: int) -> str:
    """A WAV file of the very samples, in base64."""
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples, dtype=np.float32), rate, format="WAV", subtype="FLOAT")
    return base64.b64encode(file.getvalue()).decode()
