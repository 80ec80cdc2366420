"""Compressed audio in unmodified vLLM answers as the patched transformers model does; `make vllm-test` runs it.

Every engine gets ragged recordings at once, then the same again, so that the second round reads the prefix cache.
"""

from __future__ import annotations

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make vllm-test` runs these tests")

import copy
import shutil

import tiny
import torch
from engines import (
    BLOCK,
    SMALL,
    Question,
    answers,
    as_published,
    clean_up,
    engine,
    generate,
    ids_of,
    made,
    run_examples,
    saved,
)

import hf_tokcomp
from hf_tokcomp.audio import load_audio
from hf_tokcomp.checkpoints import recordings
from hf_tokcomp.errors import CompressionConfigError
from hf_tokcomp.prompt.requirements import FROM_PROMPT
from hf_tokcomp.serving.vllm import ARCHITECTURES, COMPRESSION_KEY

SECONDS = {"qwen2_audio": (1.0, 3.3, 0.4, 12.2, 29.9), "audioflamingo3": (1.0, 31.0, 61.5, 30.0)}
SERVABLE = [
    name
    for name, method in hf_tokcomp.methods().items()
    if method.deterministic_length and not method.needs & FROM_PROMPT and not method.learns and name != "compose"
]
CASES = [
    *(("qwen2_audio", {"method": name}) for name in SERVABLE),
    ("qwen2_audio", {"method": "top_k", "retention_ratio": 0.25, "positions": "original"}),
    ("qwen2_audio", {"method": "average_pooling", "tokens_per_second": 3, "positions": "original"}),
    ("qwen2_audio", {"method": "ltbm", "encoder_stride": 2, "chunk_seconds": 2}),
    ("qwen2_audio", {"method": "top_k", "encoder_merge": 0.3, "allocation": "content"}),
    ("qwen2_audio", {"method": "compose", "stages": ["ltbm", {"method": "top_k", "max_tokens": 40}]}),
    ("audioflamingo3", {"method": "none"}),
    ("audioflamingo3", {"method": "segmentwise_top_k", "retention_ratio": 0.25}),
    ("audioflamingo3", {"method": "visionzip", "retention_ratio": 0.1, "positions": "original"}),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: saved(kind, tmp_path_factory.mktemp(kind)) for kind in tiny.KINDS}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return {kind: as_published(saved(kind, tmp_path_factory.mktemp(kind))) for kind in tiny.KINDS}


def questions_of(kind):
    """Ragged: recordings of people and chirps, prompts of several lengths; Audio Flamingo 3's span three windows."""
    audio = [load_audio(str(each), 16000) for each, _ in recordings()] if kind == "qwen2_audio" else []
    audio += [tiny.sound(seconds, seed) for seed, seconds in enumerate(SECONDS[kind])]
    found = [
        Question(tiny.prompt(kind, words=" ".join(tiny.WORDS[: 3 + i % 4])), [each]) for i, each in enumerate(audio)
    ]
    found.append(Question(tiny.prompt(kind, 0)))
    if kind == "qwen2_audio":
        two = [tiny.sound(2.3, 8), tiny.sound(5.1, 9)]
        found.append(Question(tiny.prompt(kind, 2), two))
    return found


@pytest.mark.parametrize(
    ("kind", "config"), CASES, ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values()))[:40]
)
def test_the_ids_are_those_of_transformers(folders, kind, config):
    questions = questions_of(kind)
    wanted = answers(kind, config, questions)
    counts = []
    model, processor = made(kind)
    with hf_tokcomp.compressed(model, config), hf_tokcomp.compressed(processor, config):
        for question in questions:
            counts.append(question.inputs(kind, processor)["input_ids"].shape[1])
    with engine(folders[kind], config) as llm:
        first = generate(llm, questions)
        again = generate(llm, questions)
    assert [len(each.prompt_token_ids) for each in first] == counts
    assert ids_of(first) == wanted
    assert ids_of(again) == wanted
    assert [each.num_cached_tokens for each in again] == [(n - 1) // BLOCK * BLOCK for n in counts]


@pytest.mark.parametrize("positions", ["contiguous", "original"])
def test_prefill_in_pieces_and_preemption(folders, positions):
    kind, config = "qwen2_audio", {"method": "top_k", "retention_ratio": 0.25, "positions": positions}
    questions = questions_of(kind)
    wanted = answers(kind, config, questions)
    with engine(folders[kind], config, **SMALL) as llm:
        assert ids_of(generate(llm, questions)) == wanted
        assert ids_of(generate(llm, questions[::-1])) == wanted[::-1]
    assert wanted != answers(kind, config | {"retention_ratio": 0.5}, questions)
    assert wanted != answers(
        kind, config | {"positions": {"contiguous": "original"}.get(positions, "contiguous")}, questions
    )


@pytest.mark.parametrize(
    "config", [{"method": "conv_resampler"}, {"method": "query_resampler", "positions": "original"}]
)
def test_a_compressor_that_learned(tmp_path, config):
    """Its weights are loaded; where they are none of the class's, stock vLLM refuses the folder."""
    kind, questions = "qwen2_audio", questions_of("qwen2_audio")
    model = hf_tokcomp.patch(copy.deepcopy(made(kind)[0]), config)
    with torch.no_grad():
        for parameter in model.audio_compressor.parameters():
            parameter.normal_(0, 0.3)
    model.save_pretrained(tmp_path)
    made(kind)[1].save_pretrained(tmp_path)
    wanted = answers(kind, config, questions, model)
    assert wanted != answers(kind, config, questions)
    with engine(tmp_path, config) as llm:
        assert ids_of(generate(llm, questions)) == wanted
    refused("audio_compressor", as_published(tmp_path), None)


def test_adapters(folders, tmp_path):
    """Two at once in a batch, one of them none."""
    from peft import LoraConfig, get_peft_model
    from vllm.lora.request import LoRARequest

    kind, config = "qwen2_audio", {"method": "ltbm", "retention_ratio": 0.25}
    questions = questions_of(kind)
    plain = answers(kind, config, questions)
    targets = hf_tokcomp.supported_models()[kind].lora_targets["language_model"]
    tuned = get_peft_model(copy.deepcopy(made(kind)[0]), LoraConfig(r=8, target_modules=targets))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    tuned.save_pretrained(tmp_path)
    wanted = answers(kind, config, questions, tuned)
    assert wanted != plain
    # A slot more than adapters: on the CPU, requests without one in a batch read the last slot.
    with engine(folders[kind], config, enable_lora=True, max_lora_rank=8, max_loras=2) as llm:
        adapter = LoRARequest("tuned", 1, str(tmp_path))
        used = [adapter if i % 2 else None for i in range(len(questions))]
        expected = [(wanted if i % 2 else plain)[i] for i in range(len(questions))]
        assert ids_of(generate(llm, questions, lora_request=used)) == expected
        trained = hf_tokcomp.CompressionConfig.from_dict(config)
        trained.save_pretrained(tmp_path)
        assert llm.llm_engine.add_lora(LoRARequest("same", 2, str(tmp_path)))
        trained.replace(retention_ratio=0.5).save_pretrained(tmp_path)
        with pytest.raises(CompressionConfigError, match=r"'other' was trained under .*0\.5.*serve it under its own"):
            llm.llm_engine.add_lora(LoRARequest("other", 3, str(tmp_path)))


@pytest.mark.parametrize("positions", ["contiguous", "original"])
def test_long_audio_in_windows(folders, positions):
    """Audios of one to three windows in one batch, two of them in a prompt; read in pieces, too."""
    kind = "qwen2_audio"
    config = {"method": "ltbm", "retention_ratio": 0.25, "positions": positions, "long_audio": "windows"}
    seconds = [(31.0,), (4.0,), (61.5,), (30.0,), (2.0, 45.0)]
    sounds = [[tiny.sound(each, seed) for seed, each in enumerate(several)] for several in seconds]
    questions = [Question(tiny.prompt(kind, len(each)), each) for each in sounds]
    wanted = answers(kind, config, questions)
    assert wanted != answers(kind, config | {"long_audio": "cut"}, questions)
    with engine(folders[kind], config, max_num_batched_tokens=256) as llm:
        assert ids_of(generate(llm, questions)) == wanted
        assert ids_of(generate(llm, questions)) == wanted


@pytest.mark.parametrize("positions", ["contiguous", "original"])
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_request_chooses_a_smaller_budget(folders, kind, positions):
    """Beside others in one batch: some with the engine's, some with their own."""
    config = {"method": "segmentwise_top_k", "retention_ratio": 0.5, "positions": positions}
    budgets = [None, {"retention_ratio": 1 / 3}, {"max_tokens": 5}, {"tokens_per_second": 2.0}]
    questions = [question for question in questions_of(kind) if question.audio]
    chosen = [budgets[i % 4] for i in range(len(questions))]
    served = hf_tokcomp.CompressionConfig.from_dict(config)
    wanted, asked = [], []
    for question, budget in zip(questions, chosen, strict=True):
        wanted += answers(kind, served if budget is None else served.replace(**budget), [question])
        kwargs = {} if budget is None else {"mm_processor_kwargs": {COMPRESSION_KEY: budget}}
        asked.append(question.for_vllm | kwargs)
    with engine(folders[kind], config) as llm:
        assert ids_of(generate(llm, asked)) == wanted
        assert ids_of(generate(llm, asked)) == wanted
        assert ids_of(generate(llm, questions)) == answers(kind, config, questions)
        more = questions[0].for_vllm | {"mm_processor_kwargs": {COMPRESSION_KEY: {"retention_ratio": 1.0}}}
        with pytest.raises(ValueError, match="this server leaves at most"):
            generate(llm, [more])


@pytest.mark.parametrize("plug_in", [False, True], ids=["stock", "plug-in"])
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_vllm_takes_what_embed_audio_makes(published, kind, plug_in):
    """An engine that holds no encoder, without the plug-in's classes and with them."""
    config = {"method": "ltbm", "retention_ratio": 0.25}
    questions = [question for question in questions_of(kind) if question.audio]
    wanted = answers(kind, config, questions)
    model, processor = made(kind)
    asked = []
    with hf_tokcomp.compressed(model, config):
        for question in questions:
            slots = hf_tokcomp.embed_audio(model, question.inputs(kind, processor))
            asked.append({"prompt": question.text, "multi_modal_data": {"audio": slots}})
    without_encoder = {"enable_mm_embeds": True, "limit_mm_per_prompt": {"audio": 0}}
    with engine(published[kind], config if plug_in else None, **without_encoder) as llm:
        assert ids_of(generate(llm, asked)) == wanted


def test_stock_vllm_does_not_compress_a_folder_of_ours(tmp_path):
    """What README says: it loads, and answers as without compression."""
    kind = "qwen2_audio"
    questions = questions_of(kind)
    hf_tokcomp.patch(copy.deepcopy(made(kind)[0]), {"method": "top_k", "retention_ratio": 0.1}).save_pretrained(
        tmp_path
    )
    made(kind)[1].save_pretrained(tmp_path)
    with engine(as_published(tmp_path), None) as llm:
        assert ids_of(generate(llm, questions)) == answers(kind, "none", questions)


def refused(message, folder, overrides, **options):
    """The engine does not start, and says why."""
    from vllm import LLM

    given = {} if overrides is None else {"hf_overrides": overrides}
    with pytest.raises(Exception, match=message):
        LLM(str(folder), dtype="float32", enforce_eager=True, max_model_len=4096, **given, **options)
    clean_up()


def test_what_cannot_be_served_does_not_start(folders):
    kind = "qwen2_audio"
    ours = {"architectures": [ARCHITECTURES[kind]]}
    for compression, message in (
        ({"method": "speechprune"}, "goes by the user's question"),
        ({"method": "a_tome", "threshold": 0.9}, "as the audio's content asks for"),
        ({"method": "top_k", "positions": "original"}, "mrope_section"),
        ({"method": "top_k", "windo": 3}, "windo"),
    ):
        refused(message, folders[kind], ours | {COMPRESSION_KEY: compression})
    refused("config has no 'audio_compression'", folders[kind], ours)


def test_json_overrides_do_the_same(folders):
    """As on vLLM's command line."""
    kind, config = "qwen2_audio", {"method": "top_k", "retention_ratio": 0.25, "positions": "original"}
    questions = questions_of(kind)
    overrides = {
        "architectures": [ARCHITECTURES[kind]],
        COMPRESSION_KEY: config,
        "text_config": {"rope_parameters": {"mrope_section": [16, 0, 0]}},
    }
    with engine(folders[kind], None, hf_overrides=overrides, video_pruning_rate=0.5) as llm:
        assert ids_of(generate(llm, questions)) == answers(kind, config, questions)


def test_the_pages_examples_run(published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(recordings()[0][0], "question.wav")
    assert run_examples("Qwen/Qwen2-Audio-7B-Instruct", published["qwen2_audio"]) == 2
