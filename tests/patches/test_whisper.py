"""Whisper, beyond the checks of every model: where a sound ends, padding, upstream's ways of decoding, refusals."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any

import numpy as np
import pytest
import tiny
import tiny_whisper
import torch
from transformers import pipeline
from transformers.modeling_outputs import BaseModelOutput

import hf_tokcomp
from hf_tokcomp.generation.cross_attention import CompressedEncoderOutput
from hf_tokcomp.models.cross_attending import marked, sound_in, unmarked
from hf_tokcomp.testing import sound

RATE = 16_000
HALF = {"method": "average_pooling", "retention_ratio": 0.5, "padding_seconds": 0.3}
SECONDS = [0.9, 1.7, 0.6]


@pytest.fixture(scope="module")
def made() -> tuple[Any, Any]:
    return tiny_whisper.made()


@pytest.fixture
def model(made: tuple[Any, Any]) -> Any:
    return hf_tokcomp.patch(copy.deepcopy(made[0]), HALF)


@pytest.fixture
def processor(made: tuple[Any, Any]) -> Any:
    return copy.deepcopy(made[1])


def sounds(*seconds: float) -> list[Any]:
    return [sound(length, seed) for seed, length in enumerate(seconds)]


def features(processor: Any, *seconds: float, **options: Any) -> dict[str, Any]:
    given = {"return_attention_mask": True, "return_tensors": "pt", "sampling_rate": RATE} | options
    return dict(processor(sounds(*seconds), **given))


def counts(model: Any) -> tuple[list[int], list[int]]:
    return model.audio_compressor.last.tokens_before, model.audio_compressor.last.tokens_after


# Counts and weights


def test_the_budget_counts_the_sound_and_the_padding_comes_on_top(model: Any, processor: Any) -> None:
    model.generate(**features(processor, 0.9, 1.7, 2.0))
    assert counts(model) == ([100, 100, 100], [23 + 15, 43 + 15, 50])
    record = model.audio_compressor.last
    assert (record.sound_before, record.sound_after) == ([45, 85, 100], [23, 43, 50])
    assert record.times.shape == (3, 50, 2)
    assert record.times[0, 22].tolist() == pytest.approx([0.88, 0.9])


@pytest.mark.parametrize(("seconds", "kept"), [(0.0, 0), (0.3, 15), (0.75, 38), (9.0, 55)])
def test_padding_is_spread_over_all_of_it_and_weighs_as_much(
    made: tuple[Any, Any], processor: Any, seconds: float, kept: int
) -> None:
    inputs = features(processor, 0.9)
    states = made[0].model.encoder(inputs["input_features"]).last_hidden_state[0]
    model = hf_tokcomp.patch(
        copy.deepcopy(made[0]), {"method": "stride", "retention_ratio": 1.0, "padding_seconds": seconds}
    )
    read = model.get_encoder()(**inputs)
    assert isinstance(read, CompressedEncoderOutput)
    assert torch.equal(read.last_hidden_state[0, :45], states[:45])
    places = [45 + int((number + 0.5) * 55 / kept) for number in range(kept)]
    assert torch.equal(read.last_hidden_state[0, 45:], states[places])
    if kept in (0, 55):
        assert read.log_weight is None
    else:
        assert read.log_weight[0, 45:].exp().sum().item() == pytest.approx(55)
        assert not read.log_weight[0, :45].any()


def test_what_fills_up_a_shorter_row_is_not_read(model: Any, processor: Any) -> None:
    inputs = features(processor, *SECONDS)
    read = model.get_encoder()(**inputs)
    ids = torch.tensor([[5, 6]] * 3)
    wanted = model(encoder_outputs=read, decoder_input_ids=ids).logits
    assert read.log_weight[0].isneginf().sum() == 20
    read.last_hidden_state[read.log_weight.isneginf()] = 100.0
    assert torch.equal(model(encoder_outputs=read, decoder_input_ids=ids).logits, wanted)
    assert torch.equal(model(**inputs, decoder_input_ids=ids).logits, wanted)


def test_the_defaults_of_the_model_are_a_second(made: tuple[Any, Any], processor: Any) -> None:
    model = hf_tokcomp.patch(copy.deepcopy(made[0]), "stride")
    model.generate(**features(processor, 0.6))
    assert counts(model) == ([100], [15 + 50])


# Where the sound ends


def test_the_end_is_found_as_the_extractor_writes_it(processor: Any) -> None:
    for length in (0.3, 0.5003, 0.7091, 1.2345, 1.95):
        given = features(processor, length)
        found, told = sound_in(given["input_features"]), sound_in(given["input_features"], given["attention_mask"])
        assert found[0].sum() - told[0].sum() in (0, 1), length
    assert sound_in(features(processor, 2.0)["input_features"]).all()
    silence = processor([np.zeros(RATE, np.float32)], sampling_rate=RATE, return_tensors="pt")["input_features"]
    assert not sound_in(silence).any()


def test_silence_within_a_recording_is_sound(processor: Any) -> None:
    loud = sound(0.5, 1)
    both = np.concatenate([loud, np.zeros(RATE // 2, np.float32), loud])
    given = processor([both], sampling_rate=RATE, return_tensors="pt")["input_features"]
    assert sound_in(given)[0].nonzero().flatten().tolist() == list(range(151))


def test_without_a_mask_and_padding_the_window_is_compressed_with_one_warning(
    model: Any, processor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    given = features(processor, 0.9)["input_features"]
    noisy = given + 0.01 * torch.rand(given.shape)
    with caplog.at_level(logging.WARNING):
        model.generate(given)
        assert caplog.text == ""
        model.generate(noisy)
        model(noisy, decoder_input_ids=torch.tensor([[5]]))
    assert caplog.text.count("each is compressed as a whole") == 1
    assert counts(model) == ([100], [50])


def test_a_recording_without_sound_leaves_the_padding(model: Any, processor: Any) -> None:
    given = processor([np.zeros(RATE, np.float32)], sampling_rate=RATE, return_tensors="pt")
    ids = model.generate(**given)
    assert counts(model) == ([100], [15])
    beside = dict(given) | {
        "input_features": torch.cat([given["input_features"], features(processor, 0.9)["input_features"]])
    }
    assert model.generate(**beside)[0].tolist() == ids[0].tolist()


def test_a_mask_of_other_features_is_refused(model: Any, processor: Any) -> None:
    given = features(processor, *SECONDS)
    with pytest.raises(ValueError, match=r"attention mask is \(3, 150\), the features have 3 windows of 200 frames"):
        model.generate(given["input_features"], attention_mask=given["attention_mask"][:, :150])


def test_the_mark_of_the_sound_goes_along_with_the_features() -> None:
    values, valid = torch.randn(2, 5, 8), torch.arange(8).expand(2, 8) < torch.tensor([[3], [8]])
    back, told = unmarked(marked(values, valid), 5)
    assert torch.equal(back, values)
    assert told is not None
    assert torch.equal(told, valid)
    assert unmarked(values, 5)[1] is None


# Upstream's ways of decoding


@pytest.mark.parametrize("how", ["sdpa", "eager"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_beams": 2},
        {"return_timestamps": True},
        {"cache_implementation": "static"},
        {"use_cache": False},
        {"language": "de", "task": "translate"},
        {"prompt_lookup_num_tokens": 2},
        {"temperature": (0.0, 0.2), "logprob_threshold": -0.1, "no_speech_threshold": 0.9, "return_timestamps": True},
    ],
    ids=lambda options: "+".join(options) or "greedy",
)
def test_rows_of_a_batch_say_what_they_say_alone(model: Any, processor: Any, how: str, options: dict[str, Any]) -> None:
    model.set_attn_implementation(how)
    given = features(processor, *SECONDS)
    together = None
    if "prompt_lookup_num_tokens" not in options:  # which upstream does for one row at a time
        torch.manual_seed(0)
        together = model.generate(**given, **options)
        assert counts(model)[1] == [38, 58, 30], "the record is that of the first window, with all rows"
    for row in range(len(SECONDS)):
        torch.manual_seed(0)
        alone = model.generate(**{name: value[row : row + 1] for name, value in given.items()}, **options)
        if together is None:
            plain = model.generate(**{name: value[row : row + 1] for name, value in given.items()})
            assert alone.tolist() == plain.tolist()
        elif "temperature" not in options:  # which draws
            assert together[row].tolist()[: alone.shape[1]] == alone[0].tolist()


def test_several_texts_per_recording(model: Any, processor: Any) -> None:
    given = features(processor, *SECONDS)
    assert len(model.generate(**given, num_beams=2, num_return_sequences=2)) == 6
    outputs = model.generate(**given, return_dict_in_generate=True, output_scores=True, output_hidden_states=True)
    assert outputs.sequences.shape[0] == 3


def test_long_recordings_are_decoded_window_by_window_as_upstream_does(made: tuple[Any, Any], processor: Any) -> None:
    long = {"truncation": False, "padding": "longest"}
    given = features(processor, 5.1, 2.3, 0.6, **long)
    wanted = made[0].generate(**given, return_timestamps=True)
    whole = {"method": "stride", "retention_ratio": 1.0, "padding_seconds": tiny_whisper.SECONDS}
    model = hf_tokcomp.patch(copy.deepcopy(made[0]), whole)
    assert model.generate(**given, return_timestamps=True).tolist() == wanted.tolist()
    seen: list[list[int]] = []
    hf_tokcomp.patch(model, HALF)
    model.audio_compressor.register_forward_hook(lambda _m, args, _o: seen.append(args[0].counts))
    model.generate(**given, return_timestamps=True)
    assert seen[0] == [100, 100, 30]
    assert len(seen) > 1
    assert min(map(min, seen[1:])) < 100, "the last window of a recording ends where the recording does"
    assert counts(model)[1] == [50, 50, 15 + 15]


def test_the_pipeline_transcribes(made: tuple[Any, Any], model: Any, processor: Any) -> None:
    def reads(which: Any) -> Any:
        parts = {"tokenizer": processor.tokenizer, "feature_extractor": processor.feature_extractor}
        return pipeline("automatic-speech-recognition", model=which, **parts)

    said = reads(model)(sound(0.9, 0))["text"]
    assert counts(model) == ([100], [38])
    wanted = reads(made[0])(sound(0.9, 0))["text"]
    assert said != wanted
    whole = {"method": "stride", "retention_ratio": 1.0, "padding_seconds": tiny_whisper.SECONDS}
    assert reads(hf_tokcomp.patch(model, whole))(sound(0.9, 0))["text"] == wanted
    pieces = reads(model)(sound(3.0, 0), chunk_length_s=2, return_timestamps=True)
    assert pieces == reads(made[0])(sound(3.0, 0), chunk_length_s=2, return_timestamps=True)
    with pytest.raises(ValueError, match="Timestamps of words"):
        reads(model)(sound(0.9, 0), return_timestamps="word")


def test_copies_and_pickles_read_the_same(model: Any, processor: Any) -> None:
    given = features(processor, *SECONDS) | {"decoder_input_ids": torch.tensor([[5, 6]] * 3)}
    wanted = model(**given).logits
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(**given).logits, wanted)
        hf_tokcomp.unpatch(again)
        assert not torch.equal(again(**given).logits, wanted)
    assert torch.equal(model.model(**given).last_hidden_state @ model.proj_out.weight.T, wanted)


def test_training_with_gradient_checkpointing_and_spec_augment(model: Any, processor: Any) -> None:
    given = features(processor, *SECONDS) | {"labels": torch.tensor([[5, 6, 7]] * 3)}
    model.train()
    wanted = model(**given).loss
    wanted.backward()
    weight = model.model.decoder.layers[0].encoder_attn.k_proj.weight
    gradient = weight.grad.clone()
    model.zero_grad()
    model.gradient_checkpointing_enable()
    loss = model(**given).loss
    loss.backward()
    assert torch.equal(loss, wanted)
    torch.testing.assert_close(weight.grad, gradient)
    model.config.apply_spec_augment, model.config.mask_time_prob = True, 0.5
    before = given["input_features"].clone()
    assert not torch.equal(model(**given).loss, wanted)
    assert counts(model)[1] == [38, 58, 30], "what is masked in training is sound"
    assert model.audio_compressor.last.sound_before == [45, 85, 30]
    assert not torch.equal(given["input_features"], before), "upstream masks in place, too"


# Processors


def test_a_patched_processor_is_saved_copied_and_restored(processor: Any, tmp_path: Any) -> None:
    hf_tokcomp.patch(processor, HALF)
    extractor = processor.feature_extractor
    for each in (processor, copy.deepcopy(processor), pickle.loads(pickle.dumps(processor))):
        assert "attention_mask" in each(sounds(0.5), sampling_rate=RATE)
    assert "attention_mask" not in processor(sounds(0.5), sampling_rate=RATE, return_attention_mask=False)
    processor.save_pretrained(tmp_path)
    again = type(processor).from_pretrained(tmp_path)
    assert type(again.feature_extractor) is type(tiny_whisper.made()[1].feature_extractor)
    assert hf_tokcomp.unpatch(processor).feature_extractor is extractor
    assert type(extractor) is type(again.feature_extractor)
    assert "attention_mask" not in processor(sounds(0.5), sampling_rate=RATE)
    assert "attention_mask" not in hf_tokcomp.patch(processor, "none")(sounds(0.5), sampling_rate=RATE)
    given = {"method": "segmentation"}  # whose counts only the content says, which a processor need not know here
    assert "attention_mask" in hf_tokcomp.patch(processor, given)(sounds(0.5), sampling_rate=RATE)


# What is refused, and what says that it has no effect


@pytest.mark.parametrize("options", [{"return_token_timestamps": True}, {"assistant_model": torch.nn.Identity()}])
def test_what_cannot_be_right_is_refused_by_name(model: Any, processor: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"Timestamps of words|An `assistant_model`"):
        model.generate(**features(processor, 0.9), **options)
    model.generation_config.return_token_timestamps = True
    with pytest.raises(ValueError, match="Timestamps of words"):
        model.generate(**features(processor, 0.9))


def test_outputs_of_another_encoder_are_refused(model: Any, processor: Any) -> None:
    read = model.get_encoder()(**features(processor, *SECONDS))
    for other in (BaseModelOutput(read.last_hidden_state), (read.last_hidden_state,)):
        with pytest.raises(ValueError, match="must be what this model's encoder returned"):
            model(encoder_outputs=other, decoder_input_ids=torch.tensor([[5]] * 3))
    wanted = model.generate(**features(processor, *SECONDS), language="en")
    assert torch.equal(model.generate(encoder_outputs=read, language="en"), wanted)


def test_an_attention_that_takes_no_weights_is_refused(model: Any, processor: Any) -> None:
    read = model.get_encoder()(**features(processor, 0.9))
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="'flash_attention_2' cannot do here: load the model with attn_implementation"):
        model(encoder_outputs=read, decoder_input_ids=torch.tensor([[5]]))


def test_windows_of_another_length_are_refused(model: Any, processor: Any) -> None:
    given = features(processor, 0.9, padding="longest", truncation=False)
    with pytest.raises(ValueError, match="have 90 frames, and this model's encoder takes windows of 200"):
        model(**given, decoder_input_ids=torch.tensor([[5]]))


def test_methods_and_options_that_do_not_fit(made: tuple[Any, Any], caplog: pytest.LogCaptureFixture) -> None:
    model = copy.deepcopy(made[0])
    with pytest.raises(hf_tokcomp.CompressionConfigError, match=r"'speechprune' goes by .*reads no question"):
        hf_tokcomp.patch(model, "speechprune")
    with pytest.raises(hf_tokcomp.CompressionConfigError, match="reads long audio itself"):
        hf_tokcomp.patch(model, {"method": "stride", "long_audio": "windows"})
    for option in ({"encoder_stride": 2}, {"encoder_merge": 0.2}):
        with pytest.raises(hf_tokcomp.CompressionConfigError, match="neither encoder_stride nor encoder_merge"):
            hf_tokcomp.patch(model, {"method": "stride", **option})
    assert hf_tokcomp.active_config(model) is None
    hf_tokcomp.patch(model, {"method": "stride", "positions": "original"})
    assert "positions='original' has no effect on 'whisper'" in caplog.text


def test_other_models_refuse_padding() -> None:
    for each in (tiny.model("qwen2_audio"), tiny.processor("qwen2_audio")):
        with pytest.raises(hf_tokcomp.CompressionConfigError, match="'qwen2_audio' reads no padding behind the sound"):
            hf_tokcomp.patch(each, HALF)
    with pytest.raises(hf_tokcomp.CompressionConfigError, match="'none' is upstream's model, which reads all of the"):
        hf_tokcomp.NoneConfig(padding_seconds=1.0)
    with pytest.raises(hf_tokcomp.CompressionConfigError, match="belongs to compose as a whole"):
        hf_tokcomp.CompressionConfig(method="compose", stages=["stride", HALF])


@pytest.mark.parametrize("method", sorted(set(hf_tokcomp.methods()) - {"none", "compose", "speechprune"}))
def test_every_method_reads(made: tuple[Any, Any], processor: Any, method: str) -> None:
    model = hf_tokcomp.patch(copy.deepcopy(made[0]), {"method": method})
    model.generate(**features(processor, *SECONDS))
    record = model.audio_compressor.last
    assert all(0 < after < before for before, after in zip(record.sound_before, record.sound_after, strict=True))
