"""Compressed Qwen3-ASR in an engine of vLLM: the greedy ids of the patched transformers model, in float32."""

from __future__ import annotations

import copy
import json
import shutil

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make vllm-test` runs these tests")

import tiny
import torch
from engines import BLOCK, SMALL, Question, answers, clean_up, engine, generate, ids_of, made, saved
from safetensors.torch import load_file, save_file

import hf_tokcomp
from hf_tokcomp.audio import load_audio
from hf_tokcomp.checkpoints import recordings
from hf_tokcomp.serving.vllm import ARCHITECTURES, COMPRESSION_KEY, engine_args, export

KIND = "qwen3_asr"
CASES = [
    {"method": "none"},
    {"method": "segmentwise_top_k", "retention_ratio": 0.25},
    {"method": "ltbm", "retention_ratio": 0.25},
    {"method": "average_pooling", "tokens_per_second": 3},
    {"method": "visionzip", "retention_ratio": 0.25, "chunk_seconds": 2},
    {"method": "top_k", "retention_ratio": 0.25, "positions": "original"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(KIND, tmp_path_factory.mktemp(KIND))


def questions_of():
    """Ragged: recordings of people, shorter and longer chirps, prompts of several lengths."""
    audio = [load_audio(str(each), 16000) for each, _ in recordings()]
    audio += [tiny.sound(seconds, seed) for seed, seconds in enumerate((1.0, 0.3, 12.2, 31.4))]
    found = []
    for i, each in enumerate(audio):
        words = " ".join(tiny.WORDS[: 3 + i % 4])
        found.append(Question(f"please {words} <|audio_start|> <|audio_pad|> <|audio_end|> tell me", [each]))
    return [*found, Question("please tell me")]


@pytest.mark.parametrize("config", CASES, ids=lambda config: "-".join(map(str, config.values()))[:40])
def test_the_ids_are_those_of_transformers(folder, config):
    questions = questions_of()
    wanted = answers(KIND, config, questions)
    model, processor = made(KIND)
    with hf_tokcomp.compressed(model, config), hf_tokcomp.compressed(processor, config):
        counts = [question.inputs(KIND, processor)["input_ids"].shape[1] for question in questions]
    with engine(folder, config) as llm:
        first = generate(llm, questions)
        again = generate(llm, questions)
    assert [len(each.prompt_token_ids) for each in first] == counts
    assert ids_of(first) == wanted
    assert ids_of(again) == wanted
    assert [each.num_cached_tokens for each in again] == [(n - 1) // BLOCK * BLOCK for n in counts]


def test_an_exported_folder_needs_no_overrides(folder, tmp_path):
    questions, config = questions_of(), CASES[-1]
    with engine(export(folder, tmp_path / "served", config), None, video_pruning_rate=0.5) as llm:
        assert ids_of(generate(llm, questions)) == answers(KIND, config, questions)


@pytest.mark.parametrize("positions", ["contiguous", "original"])
def test_prefill_in_pieces_and_preemption(folder, positions):
    config = {"method": "top_k", "retention_ratio": 0.5, "positions": positions}
    questions = questions_of()
    wanted = answers(KIND, config, questions)
    with engine(folder, config, **SMALL) as llm:
        assert ids_of(generate(llm, questions)) == wanted
        assert ids_of(generate(llm, questions[::-1])) == wanted[::-1]
    for other in (
        {"retention_ratio": 0.25},
        {"positions": "contiguous" if positions == "original" else "original"},
    ):
        assert wanted != answers(KIND, config | other, questions)


def test_a_checkpoint_in_the_names_of_the_first_release_with_an_adapter_and_json_overrides(folder, tmp_path):
    """Its config has a thinker and positions of three kinds, of which the JSON leaves one; see docs/serving.md."""
    from peft import LoraConfig, get_peft_model
    from vllm.lora.request import LoRARequest

    config = {"method": "ltbm", "retention_ratio": 0.25, "positions": "original"}
    questions = questions_of()
    first = shutil.copytree(folder, tmp_path / "first")
    weights = load_file(first / "model.safetensors")
    save_file({first_name(name): tensor for name, tensor in weights.items()}, first / "model.safetensors")
    whole = json.loads((first / "config.json").read_text())
    thinker = {name: whole.pop(name) for name in ("audio_config", "text_config", "audio_token_id")}
    rotary = {"rope_type": "default", "mrope_section": [6, 5, 5], "mrope_interleaved": True}
    thinker["text_config"] |= {"rope_theta": 10000.0, "rope_scaling": rotary}
    del thinker["text_config"]["rope_parameters"]
    (first / "config.json").write_text(json.dumps(whole | {"thinker_config": thinker}))

    plain = answers(KIND, config, questions)
    targets = hf_tokcomp.supported_models()[KIND].lora_targets["language_model"]
    tuned = get_peft_model(copy.deepcopy(made(KIND)[0]), LoraConfig(r=8, target_modules=targets))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    tuned.save_pretrained(tmp_path / "adapter")
    wanted = answers(KIND, config, questions, tuned)
    assert wanted != plain
    overrides = {
        "architectures": [ARCHITECTURES[KIND]],
        COMPRESSION_KEY: config,
        "thinker_config": {"text_config": {"rope_parameters": {"mrope_section": [16, 0, 0]}}},
    }
    # A slot more than adapters: on the CPU, requests without one in a batch read the last slot.
    lora = {"enable_lora": True, "max_lora_rank": 8, "max_loras": 2}
    with engine(first, None, hf_overrides=overrides, video_pruning_rate=0.5, **lora) as llm:
        adapter = LoRARequest("tuned", 1, str(tmp_path / "adapter"))
        used = [adapter if i % 2 else None for i in range(len(questions))]
        expected = [(wanted if i % 2 else plain)[i] for i in range(len(questions))]
        assert ids_of(generate(llm, questions, lora_request=used)) == expected
        smaller = {COMPRESSION_KEY: {"retention_ratio": 0.1}}
        asked = [question.for_vllm | {"mm_processor_kwargs": smaller} for question in questions[:3]]
        assert ids_of(generate(llm, asked)) == answers(KIND, config | smaller[COMPRESSION_KEY], questions[:3])
        two = Question("<|audio_start|> <|audio_pad|> <|audio_end|> " * 2, questions[0].audio * 2)
        with pytest.raises(Exception, match=r"At most 1 audio\(s\) may be provided"):
            generate(llm, [two])


def first_name(name):
    """The name of a weight in Qwen3-ASR's first release."""
    for ours, theirs in (
        ("model.multi_modal_projector.linear_", "thinker.audio_tower.proj"),
        ("model.audio_tower.", "thinker.audio_tower."),
        ("model.language_model.", "thinker.model."),
        ("lm_head.", "thinker.lm_head."),
    ):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise ValueError(name)


def test_what_its_encoder_cannot_do_does_not_start(folder):
    from vllm import LLM

    args = engine_args({"method": "top_k", "encoder_stride": 2})
    with pytest.raises(Exception, match="'qwen3_asr' offers neither encoder_stride nor encoder_merge"):
        LLM(str(folder), dtype="float32", enforce_eager=True, max_model_len=4096, **args)
    clean_up()
