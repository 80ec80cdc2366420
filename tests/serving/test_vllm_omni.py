"""The compressed thinker of Qwen2.5-Omni in an engine of vLLM: the greedy ids of the patched model, in float32."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; `make vllm-test` runs these tests")

import omni_answers
import tiny
from engines import BLOCK, SMALL, Question, engine, generate, ids_of
from omni_answers import CASES, expected, questions
from PIL import Image
from subjects import qwen2_5_omni_thinker as subject

from hf_tokcomp.serving.vllm import ARCHITECTURES, COMPRESSION_KEY, export

USUAL = [case for case in CASES if case not in ("pieces", "adapter")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        "alone": omni_answers.saved_thinker(tmp_path_factory.mktemp("alone")),
        "whole": omni_answers.saved_whole(tmp_path_factory.mktemp("whole")),
    }


@pytest.fixture(autouse=True)
def _no_torchvision(monkeypatch):
    """Upstream's processor needs torchvision, whose builds on PyPI do not go with torch's for CPUs."""
    from hf_tokcomp.serving.vllm.qwen2_5_omni_thinker import Info

    processor = subject.processor(30)
    processor.image_processor = processor.video_processor = SimpleNamespace(merge_size=2)
    monkeypatch.setattr(Info, "get_hf_processor", lambda self, **kwargs: processor)


@pytest.mark.parametrize("case", USUAL)
def test_the_ids_are_those_of_transformers(folders, case):
    wanted = expected(case)
    with engine(folders["whole"], CASES[case]) as llm:
        first = generate(llm, questions())
        again = generate(llm, questions())
    assert [len(each.prompt_token_ids) for each in first] == wanted["lengths"]
    assert ids_of(first) == wanted["ids"]
    assert ids_of(again) == wanted["ids"]
    assert [each.num_cached_tokens for each in again] == [(n - 1) // BLOCK * BLOCK for n in wanted["lengths"]]


def test_an_exported_folder_needs_no_overrides(folders, tmp_path):
    """Also where transformers is too old for the patch, as below vLLM 0.32."""
    case = next(case for case in USUAL if CASES[case].get("positions") == "original")
    with engine(export(folders["whole"], tmp_path / "served", CASES[case]), None, video_pruning_rate=0.5) as llm:
        assert ids_of(generate(llm, questions())) == expected(case)["ids"]


def test_the_thinker_alone_with_prefill_in_pieces_and_preemption(folders):
    wanted = expected("pieces")["ids"]
    with engine(folders["alone"], CASES["pieces"], **SMALL) as llm:
        assert ids_of(generate(llm, questions())) == wanted
        assert ids_of(generate(llm, questions()[::-1])) == wanted[::-1]


def test_original_positions_by_json_overrides_in_pieces(folders):
    """The checkpoint has three kinds of positions, of which the JSON leaves one; see docs/serving.md."""
    wanted = expected("original")["ids"]
    overrides = {
        "architectures": [ARCHITECTURES["qwen2_5_omni"]],
        COMPRESSION_KEY: CASES["original"],
        "thinker_config": {"text_config": {"rope_parameters": {"mrope_section": [16, 0, 0]}}},
    }
    with engine(folders["whole"], None, hf_overrides=overrides, video_pruning_rate=0.5, **SMALL) as llm:
        assert ids_of(generate(llm, questions())) == wanted
        assert ids_of(generate(llm, questions()[::-1])) == wanted[::-1]


def test_an_adapter_and_what_is_refused(folders, tmp_path):
    from vllm.lora.request import LoRARequest

    plain, tuned = expected("ltbm")["ids"], expected("adapter")["ids"]
    # A slot more than adapters: on the CPU, requests without one in a batch read the last slot.
    lora = {"enable_lora": True, "max_lora_rank": 8, "max_loras": 2}
    with engine(folders["whole"], CASES["adapter"], **lora) as llm:
        adapter = LoRARequest("tuned", 1, str(omni_answers.saved_adapter(tmp_path)))
        used = [adapter if i % 2 else None for i in range(len(plain))]
        expected_ids = [(tuned if i % 2 else plain)[i] for i in range(len(plain))]
        assert ids_of(generate(llm, questions(), lora_request=used)) == expected_ids
        picture = Image.new("RGB", (28, 28))
        seen = questions()[0].for_vllm
        seen["multi_modal_data"] |= {"image": [picture]}
        seen["prompt"] += " <|vision_bos|> <|IMAGE|> <|vision_eos|>"
        with pytest.raises(Exception, match="Under compression a prompt cannot have images"):
            generate(llm, [seen])
        with pytest.raises(Exception, match="too short for a single token"):
            generate(llm, [Question(subject.prompt(1, "what"), [tiny.sound(0.01)])])
        assert ids_of(generate(llm, questions()[:1])) == plain[:1]
