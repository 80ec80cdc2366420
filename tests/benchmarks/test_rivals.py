"""The rivals' way keeps what `top_k` keeps, by another road."""

from __future__ import annotations

import pytest
import torch

import hf_tokcomp
from hf_tokcomp.benchmarks.speed.rivals import eager_encoder, generate_by_scores
from hf_tokcomp.benchmarks.speed.sounds import draw_sound
from hf_tokcomp.benchmarks.speed.subject import Subject


@pytest.mark.parametrize("seconds", [0.6, 1.0, 2.3])
def test_the_rivals_way_is_top_k(subject: Subject, seconds: float) -> None:
    if seconds > subject.longest_seconds:
        pytest.skip("this model reads one window")
    inputs = subject.inputs([draw_sound(seconds, subject.rate)])
    options = {"max_new_tokens": 1, "do_sample": False, "pad_token_id": 0}
    options |= {"return_dict_in_generate": True, "output_logits": True}
    with torch.inference_mode():
        with eager_encoder(subject.model):
            assert subject.model.model.audio_tower.config._attn_implementation == "eager"
            assert subject.model.model.language_model.config._attn_implementation == "sdpa"
            rival = generate_by_scores(subject.model, subject.patch, inputs, 0.3, **options)
        assert subject.model.model.audio_tower.config._attn_implementation == "sdpa"
        with hf_tokcomp.compressed(subject.model, {"method": "top_k", "retention_ratio": 0.3}):
            ours = subject.model.generate(**inputs, **options)
        with hf_tokcomp.compressed(subject.model, {"method": "bottom_k", "retention_ratio": 0.3}):
            other = subject.model.generate(**inputs, **options)
    assert rival.past_key_values.get_seq_length() == ours.past_key_values.get_seq_length()
    torch.testing.assert_close(rival.logits[0], ours.logits[0], rtol=1e-3, atol=1e-4)
    assert (other.logits[0] - ours.logits[0]).abs().max() > 1e-3
