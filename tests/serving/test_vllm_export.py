"""Exported folders in unmodified vLLM, without overrides: the answers are those of the patched transformers model."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make vllm-test` runs these tests")

import copy
import os
from pathlib import Path

import tiny
import torch
from engines import Question, answers, engine, generate, ids_of, made, saved
from shipped import needs_small_model
from shipped_questions import shipped_answers, shipped_audio, written_prompt
from vllm import SamplingParams
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

import hf_tokcomp
from hf_tokcomp.audio import load_audio
from hf_tokcomp.checkpoints import SMALL_MODEL
from hf_tokcomp.serving.vllm import export
from hf_tokcomp.serving.vllm.heads import HEADS_ON_CPU
from hf_tokcomp.serving.vllm.served import PRUNING, PRUNING_ON

PRUNED = {PRUNING: PRUNING_ON}
QUARTER = {"method": "top_k", "retention_ratio": 0.25}


def questions_of(kind):
    """Ragged; Audio Flamingo 3's span windows."""
    lengths = (1.0, 12.2, 29.9) if kind == "qwen2_audio" else (1.0, 31.0, 61.5)
    audio = [tiny.sound(each, seed) for seed, each in enumerate(lengths)]
    return [
        Question(tiny.prompt(kind, words=" ".join(tiny.WORDS[: 3 + i])), [each]) for i, each in enumerate(audio)
    ] + [Question(tiny.prompt(kind, 0))]


@pytest.mark.parametrize("positions", ["contiguous", "original"])
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_folder_is_served_without_overrides(kind, positions, tmp_path):
    config = QUARTER | {"positions": positions}
    questions = questions_of(kind)
    folder = export(saved(kind, tmp_path / "model"), tmp_path / "served", config)
    with engine(folder, None, **PRUNED if positions == "original" else {}) as llm:
        assert ids_of(generate(llm, questions)) == answers(kind, config, questions)


def test_a_compressor_that_learned(tmp_path):
    """Its weights come along, and leave with another compression."""
    kind, config, questions = "qwen2_audio", {"method": "conv_resampler"}, questions_of("qwen2_audio")
    model = hf_tokcomp.patch(copy.deepcopy(made(kind)[0]), config)
    with torch.no_grad():
        for parameter in model.audio_compressor.parameters():
            parameter.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))
    for each in (model, made(kind)[1]):
        each.save_pretrained(tmp_path / "model")
    wanted = answers(kind, config, questions, model)
    assert wanted != answers(kind, config, questions)
    for folder, compression in (("learned", None), ("plain", QUARTER)):
        export(tmp_path / "model", tmp_path / folder, compression)
    with engine(tmp_path / "learned", None) as llm:
        assert ids_of(generate(llm, questions)) == wanted
    with engine(tmp_path / "plain", None) as llm:
        assert ids_of(generate(llm, questions)) == answers(kind, QUARTER, questions)


def real_audio():
    """Recordings of people that were not used in training, where there are any."""
    digits = Path(os.environ.get("HF_TOKCOMP_DATA", "/nowhere")) / "digits"
    return [load_audio(str(file), 16000) for file in sorted(digits.rglob("*.wav"))[::300][:8]]


@needs_small_model
@pytest.mark.parametrize("positions", ["contiguous", "original"])
def test_the_shipped_model(tmp_path, positions):
    """Its heads are of a width that vLLM's CPU build does not take, and its windows of 10 s."""
    config = {"method": "ltbm", "retention_ratio": 0.5, "positions": positions}
    audio = shipped_audio() + real_audio()
    folder = export(SMALL_MODEL, tmp_path / "served", config)
    asked = [{"prompt": written_prompt(), "multi_modal_data": {"audio": [each]}} for each in audio]
    options = {"max_model_len": 2048, **(PRUNED if positions == "original" else {})}
    with engine(folder, None, **options) as llm:
        found = ids_of(llm.generate(asked, SamplingParams(temperature=0, max_tokens=16), use_tqdm=False))
    assert found == shipped_answers(config, audio)


def test_the_widths_of_heads_are_vllms():
    assert sorted(HEADS_ON_CPU) == sorted(CPUAttentionBackend.get_supported_head_sizes())
