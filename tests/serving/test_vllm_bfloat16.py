"""The shipped model in bfloat16: answers in vLLM are those of transformers, but for ties; `make vllm-test` runs it."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make vllm-test` runs these tests")

import os
from pathlib import Path

import numpy as np
from engines import clean_up
from shipped import needs_small_model
from shipped_questions import PROMPT, shipped_audio

from hf_tokcomp.audio import load_audio
from hf_tokcomp.checkpoints import SMALL_MODEL
from hf_tokcomp.config.notation import resolve_compression
from hf_tokcomp.serving.vllm import export
from recipes.serving_check import expected, report, served


def strings_of_digits():
    """Of people, five digits each, where there are recordings."""
    files = sorted(Path(os.environ.get("HF_TOKCOMP_DATA", "/nowhere"), "digits").rglob("*.wav"))[::17][:150]
    digits = [load_audio(str(file), 16000) for file in files]
    return [np.concatenate(digits[i : i + 5]) for i in range(0, len(digits), 5)]


@needs_small_model
@pytest.mark.parametrize(
    "config",
    [
        {"method": "ltbm", "retention_ratio": 0.5},
        {"method": "segmentwise_top_k", "retention_ratio": 0.25, "positions": "original"},
    ],
    ids=lambda config: str(config["method"]),
)
def test_only_ties_differ(tmp_path, config):
    config = resolve_compression(config)
    folder = str(export(SMALL_MODEL, tmp_path / "served", config))
    audio = shipped_audio() + strings_of_digits()
    prompt, wanted = expected(folder, config, PROMPT, audio, "bfloat16", 12)
    try:
        given = served(folder, config, prompt, audio, 12, dtype="bfloat16", max_model_len=1024, enforce_eager=True)
    finally:
        clean_up()
    equal = sum(one.ids == other for one, other in zip(wanted, given, strict=True))
    status = report([str(i) for i in range(len(audio))], wanted, given)
    assert status == 0
    assert equal >= 0.9 * len(audio)
    assert any(len(set(one.ids)) > 3 for one in wanted)
