"""Questions for the shipped model, and its answers in transformers, for tests of engines that serve it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

import hf_tokcomp
from hf_tokcomp.audio import load_audio
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings

PROMPT = "Transcribe the digits."


@functools.cache
def shipped() -> tuple[Any, Any]:
    """The shipped model and its processor; the model may be patched meanwhile."""
    return (
        Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL),
        AutoProcessor.from_pretrained(SMALL_MODEL),
    )


def written_prompt() -> str:
    """The whole prompt of a question about one recording."""
    content = [{"type": "audio"}, {"type": "text", "text": PROMPT}]
    turns = [{"role": "user", "content": content}]
    return str(shipped()[1].apply_chat_template(turns, add_generation_prompt=True, tokenize=False))


def shipped_audio() -> list[np.ndarray]:
    """The shipped recordings, ``(samples,)`` each."""
    return [load_audio(str(path), 16000) for path, _ in recordings()]


def shipped_answers(compression: Any, audio: list[np.ndarray], model: Any = None) -> list[list[int]]:
    """The greedy ids of the patched model, one recording at a time.

    Args:
        compression: what `patch` takes.
        audio: ``(samples,)`` each.
        model: another model, with the same processor.
    """
    plain, processor = shipped()
    model = plain if model is None else model
    found = []
    with hf_tokcomp.compressed(model, compression):
        for samples in audio:
            inputs = processor(text=written_prompt(), audio=samples, sampling_rate=16000, return_tensors="pt")
            ids = model.generate(**inputs, do_sample=False)
            found.append(ids[0, inputs["input_ids"].shape[1] :].tolist())
    return found
