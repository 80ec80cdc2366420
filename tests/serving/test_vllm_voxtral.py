"""Compressed Voxtral in unmodified vLLM, from both layouts of its checkpoints; `make vllm-test` runs it."""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make vllm-test` runs these tests")

import base64
import copy
import io
import json
import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import tiny
import torch
from engines import BLOCK, SMALL, Question, answers, engine, generate, ids_of, made, run_examples, saved
from mistral_layout import as_mistral

import hf_tokcomp
from hf_tokcomp.checkpoints import recordings
from hf_tokcomp.serving.vllm import ARCHITECTURES, COMPRESSION_KEY, export
from hf_tokcomp.serving.vllm.voxtral import with_counts

KIND = "voxtral"
PATCH = hf_tokcomp.supported_models()[KIND]
BY_MISTRAL = {"tokenizer_mode": "mistral"}
"""What a folder in transformers' layout needs."""
QUARTER = {"method": "segmentwise_top_k", "retention_ratio": 0.25}
ORIGINAL = {"method": "top_k", "retention_ratio": 0.25, "positions": "original"}


@dataclass
class Written(Question):
    """A prompt whose ids mistral-common writes, as vLLM's chat has it do."""

    def inputs(self, kind: str, processor: Any) -> Any:
        return PATCH.process(processor, [self.text], self.audio, tiny.RATE)

    @property
    def for_vllm(self) -> dict[str, Any]:
        ids = self.inputs(KIND, made(KIND)[1])["input_ids"][0].tolist()
        return {"prompt_token_ids": ids, **({"multi_modal_data": {"audio": self.audio}} if self.audio else {})}


@dataclass
class Transcription(Written):
    """The other kind of prompt. Its audio passes through 16 bits."""

    def inputs(self, kind: str, processor: Any) -> Any:
        return processor.apply_transcription_request(
            audio=self.audio, model_id="tiny", language="en", sampling_rate=tiny.RATE, format=["wav"]
        )


def in_16_bits(samples: np.ndarray) -> np.ndarray:
    return (samples * 2**15).round().clip(-(2**15), 2**15 - 1).astype(np.float32) / 2**15


def questions_of() -> list[Question]:
    """Ragged: windows that are full and that hold next to nothing, three of them, two audios, none, a transcription."""
    texts = ("what is this", "tell me", "now", "please", "a b c")
    seconds = (1.0, 33.0, 0.4, 61.5, 30.0)
    found = [
        Written(f"[AUDIO]{text}", [tiny.sound(n, seed)])
        for seed, (text, n) in enumerate(zip(texts, seconds, strict=True))
    ]
    found.append(Written("[AUDIO]a and [AUDIO]b", [tiny.sound(35.0, 8), tiny.sound(2.3, 9)]))
    found.append(Written("who"))
    found.append(Transcription("", [in_16_bits(tiny.sound(4.4, 10))]))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return saved(KIND, tmp_path_factory.mktemp(KIND))


@pytest.fixture(scope="module")
def published(folder: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return as_mistral(made(KIND)[0], folder / "tekken.json", tmp_path_factory.mktemp("mistral"))


def check(llm: Any, config: Any) -> None:
    """The answers are those of transformers, twice, of which the second time from the prefix cache."""
    questions = questions_of()
    with hf_tokcomp.compressed(made(KIND)[1], config):
        counts = [question.inputs(KIND, made(KIND)[1])["input_ids"].shape[1] for question in questions]
    wanted = answers(KIND, config, questions)
    first, again = generate(llm, questions), generate(llm, questions)
    assert [len(each.prompt_token_ids) for each in first] == counts
    assert ids_of(first) == wanted
    assert ids_of(again) == wanted
    assert [each.num_cached_tokens for each in again] == [(n - 1) // BLOCK * BLOCK for n in counts]


@pytest.mark.parametrize(
    "config",
    [{"method": "none"}, {"method": "ltbm"}, {"method": "average_pooling", "tokens_per_second": 3}, ORIGINAL],
    ids=lambda config: config["method"],
)
def test_the_ids_are_those_of_transformers(folder, config):
    with engine(folder, config, **BY_MISTRAL) as llm:
        check(llm, config)


def test_an_exported_folder_needs_no_overrides(folder, tmp_path):
    with engine(export(folder, tmp_path / "served", ORIGINAL), None, video_pruning_rate=0.5, **BY_MISTRAL) as llm:
        check(llm, ORIGINAL)


def test_mistrals_layout_needs_no_options(published):
    with engine(published, ORIGINAL) as llm:
        check(llm, ORIGINAL)


def test_json_overrides_do_the_same(published):
    overrides = {
        "architectures": [ARCHITECTURES[KIND]],
        COMPRESSION_KEY: ORIGINAL,
        "text_config": {"rope_parameters": {"mrope_section": [16, 0, 0]}},
    }
    with engine(published, None, hf_overrides=overrides, video_pruning_rate=0.5) as llm:
        check(llm, ORIGINAL)


@pytest.mark.parametrize("config", [QUARTER, ORIGINAL], ids=["contiguous", "original"])
def test_prefill_in_pieces_and_preemption(folder, config):
    """Prompts are the patched processor's: vLLM measures them before it shortens those of mistral-common."""
    questions = questions_of()
    wanted = answers(KIND, config, questions)
    with engine(folder, config, **BY_MISTRAL, **SMALL) as llm, hf_tokcomp.compressed(made(KIND)[1], config):
        assert ids_of(generate(llm, questions)) == wanted
        assert ids_of(generate(llm, questions[::-1])) == wanted[::-1]


def test_a_compressor_that_learned(tmp_path):
    config, questions = {"method": "conv_resampler"}, questions_of()
    model = hf_tokcomp.patch(copy.deepcopy(made(KIND)[0]), config)
    with torch.no_grad():
        for parameter in model.audio_compressor.parameters():
            parameter.normal_(0, 0.3)
    model.save_pretrained(tmp_path)
    made(KIND)[1].save_pretrained(tmp_path)
    wanted = answers(KIND, config, questions, model)
    assert wanted != answers(KIND, config, questions)
    with engine(tmp_path, config, **BY_MISTRAL) as llm:
        assert ids_of(generate(llm, questions)) == wanted


def wav(samples: np.ndarray) -> str:
    file = io.BytesIO()
    soundfile.write(file, samples, tiny.RATE, format="WAV", subtype="FLOAT")
    return base64.b64encode(file.getvalue()).decode()


def test_adapters_chat_and_prompts_that_are_wrong(published, tmp_path):
    from peft import LoraConfig, get_peft_model
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    questions = questions_of()
    plain = answers(KIND, QUARTER, questions)
    tuned = get_peft_model(
        copy.deepcopy(made(KIND)[0]), LoraConfig(r=8, target_modules=PATCH.lora_targets["language_model"])
    )
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    tuned.save_pretrained(tmp_path)
    wanted = answers(KIND, QUARTER, questions, tuned)
    assert wanted != plain
    with engine(published, QUARTER, enable_lora=True, max_lora_rank=8, max_loras=2) as llm:
        adapter = LoRARequest("tuned", 1, str(tmp_path))
        used = [adapter if i % 2 else None for i in range(len(questions))]
        expected = [(wanted if i % 2 else plain)[i] for i in range(len(questions))]
        assert ids_of(generate(llm, questions, lora_request=used)) == expected

        chats = [
            [
                {"type": "input_audio", "input_audio": {"data": wav(question.audio[0]), "format": "wav"}},
                {"type": "text", "text": question.text.removeprefix("[AUDIO]")},
            ]
            for question in questions[:5]
        ]
        greedy = SamplingParams(temperature=0, max_tokens=len(plain[0]), ignore_eos=True)
        given = llm.chat([[{"role": "user", "content": content}] for content in chats], greedy, use_tqdm=False)
        assert ids_of(given) == plain[:5]

        own = {"max_tokens": 20}
        requests = [question.for_vllm | {"mm_processor_kwargs": {COMPRESSION_KEY: own}} for question in questions[:4]]
        smaller = answers(KIND, {"method": QUARTER["method"], **own}, questions[:4])
        assert ids_of(generate(llm, [*requests[:3], questions[3], requests[3]])) == [*smaller[:3], plain[3], smaller[3]]

        asked = questions[0].for_vllm
        none, two = [1, 40, 41], {"audio": questions[0].audio * 2}
        with pytest.raises(ValueError, match="audio tokens in 0 places, and there are 1 audios"):
            generate(llm, [asked | {"prompt_token_ids": none}])
        with pytest.raises(ValueError, match="audio tokens in 1 places, and there are 2 audios"):
            generate(llm, [asked | {"multi_modal_data": two}])
        with pytest.raises(ValueError, match="Failed to apply") as refused:
            generate(llm, [asked | {"multi_modal_data": {"audio": [np.zeros(0, np.float32)]}}])
        assert "without samples" in str(refused.value.__cause__)
        assert ids_of(generate(llm, questions[:1])) == plain[:1]


def test_a_run_of_any_length_gets_its_audios_count():
    assert with_counts([1, 9, 9, 9, 2, 9, 3], 9, [2, 4]) == [1, 9, 9, 2, 9, 9, 9, 9, 3]
    assert with_counts([9], 9, [3]) == [9, 9, 9]
    assert with_counts([1, 2], 9, []) == [1, 2]


def test_the_pages_example_runs(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(recordings()[0][0], "question.wav")
    assert run_examples("my_voxtral", folder) == 1


def test_what_cannot_be_served_does_not_start(folder, published, tmp_path):
    as_mistral(made(KIND)[0], published / "tekken.json", tmp_path)
    params = json.loads((tmp_path / "params.json").read_text())
    params["multimodal"]["whisper_model_args"]["encoder_args"]["causal"] = True
    (tmp_path / "params.json").write_text(json.dumps(params))
    for path, options, message in (
        (tmp_path, {}, "This is Voxtral Realtime"),
        (published, {"enable_mm_embeds": True}, "leave out enable_mm_embeds"),
        (folder, {}, "--tokenizer-mode mistral"),
    ):
        with pytest.raises(Exception, match=message), engine(path, "ltbm", **options):
            pass
