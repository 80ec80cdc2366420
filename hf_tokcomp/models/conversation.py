"""Converting whole prompts and their recordings to conversations, for processors that accept nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile


def conversations(prompts: Sequence[str], samples: Sequence[Any], placeholder: str, rate: int) -> list[list[Any]]:
    """Convert each prompt to a conversation of one user turn, with a recording in place of each placeholder.

    Args:
        prompts: whole prompts.
        samples: mono recordings ``(samples,)`` of all prompts in order.
        placeholder: text that stands for a recording.
        rate: samples per second.

    Raises:
        ValueError: the numbers of recordings and placeholders differ.
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
    """Encode samples losslessly as a WAV file in base64."""
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples, dtype=np.float32), rate, format="WAV", subtype="FLOAT")
    return base64.b64encode(file.getvalue()).decode()
