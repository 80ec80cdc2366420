"""Assisted decoding and prompt lookup equal greedy decoding."""

from __future__ import annotations

import pytest
import tiny
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

import hf_tokcomp


@pytest.fixture(params=["contiguous", "original"])
def patched(request, model):
    return hf_tokcomp.patch(model, {"method": "ltbm", "retention_ratio": 0.4, "positions": request.param})


@pytest.fixture
def single(kind):
    return tiny.inputs(kind, [0.8])


@pytest.fixture
def greedy(patched, single):
    return patched.generate(**single, max_new_tokens=12, do_sample=False)


def text_assistant(patched):
    """A language model of another width, that knows nothing of audio."""
    torch.manual_seed(1)
    text = patched.config.get_text_config()
    config = Qwen2Config(
        vocab_size=text.vocab_size,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
    )
    assistant = Qwen2ForCausalLM(config).eval()
    assistant.generation_config.eos_token_id = None
    return assistant


@pytest.mark.parametrize("which", ["same kind", "same kind, patched", "text only"])
def test_assistant_model_equals_greedy(kind, patched, single, greedy, which):
    assistant = text_assistant(patched) if which == "text only" else tiny.model(kind)
    if which == "same kind, patched":
        hf_tokcomp.patch(assistant, "stride")
    ids = patched.generate(**single, max_new_tokens=12, do_sample=False, assistant_model=assistant)
    assert torch.equal(ids, greedy)


def test_prompt_lookup_equals_greedy(patched, single, greedy):
    ids = patched.generate(**single, max_new_tokens=12, do_sample=False, prompt_lookup_num_tokens=3)
    assert torch.equal(ids, greedy)


def test_prompt_lookup_takes_candidates_in_the_first_step(patched, kind):
    """The prompt's end repeats within it, so there are candidates before anything was generated."""
    processor = tiny.processor(kind)
    placeholder = tiny.PLACEHOLDER[kind]
    text = f"a b c d e f g a b {placeholder} a b c d a b"
    inputs = tiny.process(processor, kind, [text], [tiny.sound(0.8)])
    seen = []
    patched.get_input_embeddings().register_forward_pre_hook(lambda m, args: seen.append(args[0].shape[1]))
    expected = patched.generate(**inputs, max_new_tokens=8, do_sample=False)
    seen.clear()
    ids = patched.generate(**inputs, max_new_tokens=8, do_sample=False, prompt_lookup_num_tokens=3)
    assert torch.equal(ids, expected)
    assert 3 in seen, "the candidates of the first step were not embedded"
