"""A patched processor writes short prompts; the model sees that and drops nothing."""

from __future__ import annotations

import copy
import pickle

import pytest
import tiny
import torch

import hf_tokcomp
from hf_tokcomp import PlaceholderMismatchError

CONFIG = {"method": "top_k", "retention_ratio": 0.4}


@pytest.mark.parametrize("positions", ["contiguous", "original"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_short_prompts_give_what_long_ones_give(kind, model, seconds, positions, side):
    config = hf_tokcomp.CompressionConfig.from_dict(CONFIG | {"positions": positions})
    hf_tokcomp.patch(model, config)
    long = tiny.inputs(kind, seconds, side=side)
    processor = hf_tokcomp.patch(tiny.processor(kind), config)
    short = tiny.inputs(kind, seconds, side=side, of=processor)
    assert short["input_ids"].shape[1] < long["input_ids"].shape[1]
    expected, before = model(**long).logits, model.audio_compressor.last
    logits, last = model(**short).logits, model.audio_compressor.last
    assert last.tokens_before == before.tokens_before
    assert last.tokens_after == before.tokens_after
    real = short["attention_mask"].bool()
    torch.testing.assert_close(logits[real], expected[real], atol=2e-5, rtol=1e-4)
    new = 4
    ids = model.generate(**short, max_new_tokens=new, do_sample=False)
    assert torch.equal(ids[:, :-new], short["input_ids"])
    assert torch.equal(ids[:, -new:], model.generate(**long, max_new_tokens=new, do_sample=False)[:, -new:])


def test_several_audios_stretch_original_positions():
    """Text between and after short audios stands where it stood in the full prompt."""
    model = tiny.model("qwen2_audio")
    config = {"method": "stride", "retention_ratio": 0.3, "positions": "original"}
    audio = [tiny.sound(0.9), tiny.sound(0.5, seed=1)]
    text = ["a <|AUDIO|> b c <|AUDIO|> d"]
    long = tiny.process(tiny.processor("qwen2_audio"), "qwen2_audio", text, audio)
    short = tiny.process(hf_tokcomp.patch(tiny.processor("qwen2_audio"), config), "qwen2_audio", text, audio)
    hf_tokcomp.patch(model, config)
    torch.testing.assert_close(model(**short).logits, model(**long).logits, atol=2e-5, rtol=1e-4)


def test_ambiguous_windows_are_an_error_unless_the_processor_says(model, kind):
    """Equal counts whatever the length: two audios share three full windows, in one way or the other."""
    if kind == "qwen2_audio":
        pytest.skip("one window per audio: nothing to group")
    config = {"method": "stride", "max_tokens": 10}
    hf_tokcomp.patch(model, config)
    processor = hf_tokcomp.patch(tiny.processor(kind), config)
    inputs = tiny.inputs(kind, [2.0, 1.0], of=processor)
    assert inputs["audio_windows"].tolist() == [2, 1]
    model(**inputs)
    assert model.audio_compressor.last.tokens_before == [50, 25]
    ids = model.generate(**inputs, max_new_tokens=2, do_sample=False)
    assert torch.equal(ids[:, :-2], inputs["input_ids"])
    windows = inputs.pop("audio_windows")
    with pytest.raises(PlaceholderMismatchError, match="several ways"):
        model(**inputs)
    with pytest.raises(PlaceholderMismatchError, match="names 2 windows"):
        model(**inputs, audio_windows=windows - torch.tensor([1, 0]))


def test_another_budget_is_an_error_that_says_so(kind, model):
    processor = hf_tokcomp.patch(tiny.processor(kind), CONFIG | {"retention_ratio": 0.2})
    hf_tokcomp.patch(model, CONFIG)
    with pytest.raises(PlaceholderMismatchError, match="patched processor must have the model's config"):
        model(**tiny.inputs(kind, [0.9], of=processor))


def test_undo_twice_and_none(kind):
    processor = tiny.processor(kind)
    text = tiny.inputs(kind, [0.9], of=processor)["input_ids"]
    keys = set(processor.__dict__)
    for _ in range(2):
        hf_tokcomp.patch(processor, CONFIG)
    assert tiny.inputs(kind, [0.9], of=processor)["input_ids"].shape[1] < text.shape[1]
    hf_tokcomp.unpatch(processor)
    assert set(processor.__dict__) == keys
    assert torch.equal(tiny.inputs(kind, [0.9], of=processor)["input_ids"], text)
    with hf_tokcomp.compressed(processor, "none"):
        assert torch.equal(tiny.inputs(kind, [0.9], of=processor)["input_ids"], text)
    assert set(processor.__dict__) == keys


def test_copies_and_saving(kind, tmp_path):
    processor = hf_tokcomp.patch(tiny.processor(kind), CONFIG)
    expected = tiny.inputs(kind, [0.9], of=processor)["input_ids"]
    for copied in (copy.deepcopy(processor), pickle.loads(pickle.dumps(processor))):
        assert torch.equal(tiny.inputs(kind, [0.9], of=copied)["input_ids"], expected)
    processor.save_pretrained(tmp_path)
    plain = type(processor).from_pretrained(tmp_path)
    assert tiny.inputs(kind, [0.9], of=plain)["input_ids"].shape[1] > expected.shape[1]
    again = type(processor).from_pretrained(tmp_path, compression=CONFIG)
    assert torch.equal(tiny.inputs(kind, [0.9], of=again)["input_ids"], expected)


def test_other_processors_are_refused():
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Processor

    processor = Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tiny.tokenizer())
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="Supported: qwen2_audio"):
        hf_tokcomp.patch(processor, "top_k")


class TestCutPrompts:
    """A prompt counts as short only if the processor said so: otherwise it was cut through its audio."""

    def test_the_error_names_truncation_first(self, kind, model):
        hf_tokcomp.patch(model, CONFIG)
        inputs = tiny.inputs(kind, [0.9])
        cut = {name: inputs[name][:, :-9] for name in ("input_ids", "attention_mask")}
        with pytest.raises(PlaceholderMismatchError, match=r"audio makes 2\d, compressed \d+\. Was it truncated\?"):
            model(**inputs | cut)

    def test_cut_to_exactly_the_compressed_count(self, kind, model):
        hf_tokcomp.patch(model, CONFIG)
        inputs = tiny.inputs(kind, [0.9])
        inputs = without_placeholders(inputs, model.config.audio_token_id, keep=9)
        for call in (model, model.generate, model.base_model):
            with pytest.raises(PlaceholderMismatchError, match=r"truncated\?.* pass its `audio_placeholders` on"):
                call(**inputs)

    def test_a_short_prompt_that_was_cut(self, kind, model):
        hf_tokcomp.patch(model, CONFIG)
        inputs = tiny.inputs(kind, [0.9], of=hf_tokcomp.patch(tiny.processor(kind), CONFIG))
        assert inputs["audio_placeholders"].tolist() == [9]
        inputs = without_placeholders(inputs, model.config.audio_token_id, keep=8)
        with pytest.raises(PlaceholderMismatchError, match="truncated"):
            model(**inputs)

    def test_too_many_are_no_truncation(self, kind, model):
        hf_tokcomp.patch(model, CONFIG)
        inputs = tiny.inputs(kind, [0.9])
        more = {name: inputs[name][:, [3] * 4 + list(range(inputs[name].shape[1]))] for name in ("attention_mask",)}
        ids = inputs["input_ids"]
        extra = torch.full_like(ids[:, :4], model.config.audio_token_id)
        with pytest.raises(PlaceholderMismatchError) as caught:
            model(**inputs | more | {"input_ids": torch.cat([extra, ids], 1)})
        assert "truncated" not in str(caught.value)

    @pytest.mark.parametrize("other", ["none", {"method": "top_k", "retention_ratio": 0.6}, {"method": "top_k"}])
    def test_cut_to_what_another_config_would_have_written(self, kind, model, other):
        hf_tokcomp.patch(model, CONFIG)
        inputs = tiny.inputs(kind, [0.9], of=hf_tokcomp.patch(tiny.processor(kind), other))
        inputs = without_placeholders(inputs, model.config.audio_token_id, keep=9)
        with pytest.raises(PlaceholderMismatchError, match="truncated"):
            model(**inputs)

    def test_under_none_nothing_is_said(self, kind, model):
        inputs = tiny.inputs(kind, [0.9], of=hf_tokcomp.patch(tiny.processor(kind), "none"))
        assert set(inputs) == set(tiny.inputs(kind, [0.9]))
        model.generate(**inputs, max_new_tokens=1)

    def test_written_for_each_audio(self, kind):
        processor = hf_tokcomp.patch(tiny.processor(kind), CONFIG)
        inputs = tiny.inputs(kind, [0.9, 0.4, 0.7], of=processor)
        placeholder = processor.tokenizer.convert_tokens_to_ids(processor.audio_token)
        assert inputs["audio_placeholders"].tolist() == (inputs["input_ids"] == placeholder).sum(1).tolist()


def without_placeholders(inputs, placeholder, keep):
    """A single prompt with only so many of its placeholders."""
    is_audio = inputs["input_ids"][0] == placeholder
    kept = ~is_audio | (is_audio.cumsum(0) <= keep)
    return inputs | {name: inputs[name][:, kept] for name in ("input_ids", "attention_mask")}
