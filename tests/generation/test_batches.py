"""Several audios per prompt, audio of many windows, very short audio, and calls without audio."""

from __future__ import annotations

import drawn
import numpy as np
import pytest
import reference
import tiny
import torch

import hf_tokcomp


def config_of(positions, **options):
    return hf_tokcomp.CompressionConfig(method="top_k", retention_ratio=0.4, positions=positions, **options)


@pytest.mark.parametrize("positions", ["contiguous", "original"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_several_audios_in_one_prompt(positions, side):
    """Each audio is compressed on its own; the text between them stays; another prompt in the batch has one audio."""
    model = tiny.model("qwen2_audio")
    processor = tiny.processor("qwen2_audio")
    processor.tokenizer.padding_side = side
    lengths = [0.9, 0.5, 0.7]
    audio = [tiny.sound(s, seed=i) for i, s in enumerate(lengths)]
    texts = ["<|AUDIO|> a <|AUDIO|> b c", "what <|AUDIO|> d"]
    inputs = tiny.process(processor, "qwen2_audio", texts, audio)
    alone = [
        tiny.process(processor, "qwen2_audio", texts[:1], audio[:2]),
        tiny.process(processor, "qwen2_audio", texts[1:], audio[2:]),
    ]
    hf_tokcomp.patch(model, config_of(positions))
    logits, last = model(**inputs).logits, model.audio_compressor.last
    assert last.tokens_before == [22, 12, 17]
    assert last.tokens_after == [9, 5, 7]
    for row, single in enumerate(alone):
        expected = model(**single).logits[0]
        torch.testing.assert_close(logits[row][last.columns[row] >= 0], expected, atol=2e-5, rtol=1e-4)
    ids = inputs["input_ids"][0]
    kept = last.columns[0][last.columns[0] >= 0]
    assert ids[kept].tolist().count(model.config.audio_token_id) == 14
    text = ids[(ids != model.config.audio_token_id) & inputs["attention_mask"][0].bool()]
    assert ids[kept][ids[kept] != model.config.audio_token_id].tolist() == text.tolist()


def test_adjacent_audios_are_told_apart_by_count():
    model = hf_tokcomp.patch(tiny.model("qwen2_audio"), config_of("original"))
    audio = [tiny.sound(0.9), tiny.sound(0.5, seed=1)]
    inputs = tiny.process(tiny.processor("qwen2_audio"), "qwen2_audio", ["<|AUDIO|> <|AUDIO|> a"], audio)
    model(**inputs)
    last = model.audio_compressor.last
    assert last.tokens_before == [22, 12]
    audio_columns = last.columns[0][: sum(last.tokens_after)]
    assert (audio_columns[:9] < 22).all()
    assert (audio_columns[9:] >= 22).all()


@pytest.mark.parametrize("positions", ["contiguous", "original"])
def test_budget_and_segments_span_all_windows(positions):
    """Ten windows are one audio: the best tokens of the whole, not of every window."""
    kind = "audioflamingo3"
    model = tiny.model(kind)
    loud = np.concatenate([tiny.sound(9.0), 30 * tiny.sound(1.37, seed=3)])
    inputs = tiny.process(tiny.processor(kind), kind, ["what is <sound> this"], [loud])
    assert len(inputs["input_features"]) == 11
    config = config_of(positions)
    first, new = reference.greedy(model, kind, inputs, config, new=4)
    hf_tokcomp.patch(model, config)
    torch.testing.assert_close(model(**inputs).logits[0], first, atol=5e-5, rtol=1e-3)
    ids = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert ids[0, inputs["input_ids"].shape[1] :].tolist() == new
    last = model.audio_compressor.last
    per_window = torch.bincount(last.assignment.position[0] // 25, minlength=11)
    assert last.tokens_before == [259]
    assert per_window.sum() == last.tokens_after[0] == 104
    assert per_window.min() != per_window.max()

    hf_tokcomp.patch(model, {"method": "segmentwise_top_k", "max_tokens": 10, "segments": 10})
    model(**inputs)
    tenth = model.audio_compressor.last.assignment.position[0] * 10 // 259
    assert tenth.tolist() == list(range(10))


@pytest.mark.parametrize("method", ["segmentwise_top_k", "ltbm"])
def test_ten_minutes(method):
    """Twenty real windows of 30 s: 15,000 tokens, one budget."""
    kind = "audioflamingo3"
    model = tiny.model(kind, seconds=30, layers=1)
    audio = [np.tile(tiny.sound(20.0), 30), tiny.sound(31.0, seed=1)]
    inputs = tiny.process(tiny.processor(kind, 30), kind, ["what is <sound> this", "a <sound> b"], audio)
    assert len(inputs["input_features"]) == 22
    hf_tokcomp.patch(model, {"method": method, "retention_ratio": 0.02})
    ids = model.generate(**inputs, max_new_tokens=2, do_sample=False)
    last = model.audio_compressor.last
    assert last.tokens_before == [15000, 775]
    assert last.tokens_after == ([300, 10] if method == "segmentwise_top_k" else [300, 16])
    assert last.times[0, -1, 1] <= 600
    assert last.times[0, last.tokens_after[0] - 1, 1] > 500
    assert torch.equal(ids[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])


@pytest.mark.parametrize("seconds", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("method", list(hf_tokcomp.methods()))
def test_very_short_audio(kind, method, seconds):
    """0.05 s is one token; below 0.02 s there is none, and the prompt has no placeholder."""
    model = tiny.model(kind)
    inputs = tiny.inputs(kind, [seconds, 0.9])
    hf_tokcomp.patch(model, drawn.config(method))
    ids = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    last = model.audio_compressor.last
    tokens = 1 if seconds == 0.05 else 0
    assert int((inputs["input_ids"][0] == model.config.audio_token_id).sum()) == tokens
    assert sum(last.tokens_before) == 22 + tokens
    if method != "none" or kind == "audioflamingo3":  # upstream's Qwen2-Audio fails on a prompt of one placeholder
        alone = model.generate(**tiny.inputs(kind, [seconds]), max_new_tokens=3, do_sample=False)
        assert torch.equal(alone[0, -3:], ids[0, -3:])


@pytest.mark.parametrize("method", ["none", "top_k", "ltbm"])
def test_text_only_prompts_go_through_untouched(kind, model, method):
    ids = torch.tensor([[0, 9, 10, 11], [12, 13, 9, 10]])
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    logits = model(**inputs).logits
    text = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    hf_tokcomp.patch(model, method)
    assert torch.equal(model(**inputs).logits, logits)
    assert torch.equal(model(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits, logits)
    assert torch.equal(model.generate(**inputs, max_new_tokens=4, do_sample=False), text)


def test_a_row_without_audio_in_a_batch_with_audio(kind):
    """The row without audio keeps its text, and gets what it gets alone."""
    model = tiny.model(kind)
    with_audio = tiny.inputs(kind, [0.9])
    width = with_audio["input_ids"].shape[1]
    words = torch.tensor([[9, 10, 11]])
    pad = torch.zeros(1, width - 3, dtype=torch.long)
    mixed = dict(with_audio)
    mixed["input_ids"] = torch.cat([with_audio["input_ids"], torch.cat([pad, words], 1)])
    mixed["attention_mask"] = torch.cat([with_audio["attention_mask"], torch.cat([pad, torch.ones_like(words)], 1)])
    alone = model.generate(input_ids=words, attention_mask=torch.ones_like(words), max_new_tokens=4, do_sample=False)
    hf_tokcomp.patch(model, config_of("contiguous"))
    ids = model.generate(**mixed, max_new_tokens=4, do_sample=False)
    assert torch.equal(ids[1, width:], alone[0, 3:])
    first = model.generate(**with_audio, max_new_tokens=4, do_sample=False)
    assert torch.equal(ids[0], first[0])


def test_embeddings_beside_audio_are_upstreams_business(kind, model):
    """Upstream ignores the audio when embeddings are given; so do we."""
    inputs = tiny.inputs(kind, [0.9])
    embeds = model.get_input_embeddings()(torch.tensor([[9, 10, 11]]))
    call = {k: v for k, v in inputs.items() if "feature" in k} | {"inputs_embeds": embeds}
    logits = model(**call).logits
    hf_tokcomp.patch(model, "top_k")
    assert torch.equal(model(**call).logits, logits)


def test_silence_and_constant_audio(kind):
    model = tiny.model(kind)
    processor = tiny.processor(kind)
    audio = [np.zeros(14000, np.float32), np.full(14000, 0.3, np.float32)]
    for method in hf_tokcomp.methods():
        hf_tokcomp.patch(model, drawn.config(method, retention_ratio=0.5))
        inputs = tiny.process(processor, kind, [tiny.prompt(kind)] * 2, audio)
        assert model(**inputs).logits.isfinite().all()
        config, after = model.audio_compressor.config, model.audio_compressor.last.tokens_after
        assert after == ([config.output_length(22)] * 2 if config.deterministic_length else [after[0]] * 2)


def test_nan_audio_is_not_hidden_and_does_not_crash(kind):
    model = tiny.model(kind)
    inputs = tiny.inputs(kind, [0.9])
    inputs["input_features"] = torch.full_like(inputs["input_features"], float("nan"))
    for method in hf_tokcomp.methods():
        hf_tokcomp.patch(model, drawn.config(method, retention_ratio=0.5))
        assert model(**inputs).logits.isnan().any()
        config, after = model.audio_compressor.config, model.audio_compressor.last.tokens_after
        assert after == [config.output_length(22)] if config.deterministic_length else 1 <= after[0] <= 22


@pytest.mark.parametrize("hole", ["all of one audio", "its beginning", "its end", "a whole row"])
@pytest.mark.parametrize("ratio", [1, 0.4])
def test_masked_placeholders_keep_their_features_to_themselves(kind, hole, ratio):
    """A mask over one row's audio leaves the other rows alone, and at ratio 1 is what it is without us."""
    model = tiny.model(kind)
    inputs = dict(tiny.inputs(kind, [0.9, 0.5, 0.7]))
    places = (inputs["input_ids"][0] == model.config.audio_token_id).nonzero().flatten()
    masked = inputs["attention_mask"].clone()
    start, end = {"its beginning": (0, 8), "its end": (-5, None)}.get(hole, (0, None))
    masked[0, places[start:end]] = 0
    if hole == "a whole row":
        masked[0] = 0
    plain = model(**{**inputs, "attention_mask": masked}).logits
    hf_tokcomp.patch(model, {"method": "top_k", "retention_ratio": ratio})
    untouched = model(**inputs).logits
    logits, last = model(**{**inputs, "attention_mask": masked}).logits, model.audio_compressor.last
    real = last.columns >= 0
    width = untouched.shape[1]
    for row in (1, 2):
        length = int(real[row].sum())
        torch.testing.assert_close(logits[row][real[row]], untouched[row][width - length :], atol=5e-5, rtol=1e-3)
    if ratio == 1 and hole != "a whole row":
        seen = masked[0, last.columns[0][real[0]]].bool()
        columns = last.columns[0][real[0]][seen]
        torch.testing.assert_close(logits[0][real[0]][seen], plain[0][columns], atol=5e-5, rtol=1e-3)


def test_contiguous_positions_have_no_collisions_around_a_hole(kind):
    model = hf_tokcomp.patch(tiny.model(kind), config_of("contiguous"))
    inputs = dict(tiny.inputs(kind, [0.9]))
    places = (inputs["input_ids"][0] == model.config.audio_token_id).nonzero().flatten()
    inputs["attention_mask"] = inputs["attention_mask"].clone()
    inputs["attention_mask"][0, places[-5:]] = 0
    seen = {}
    model.model.language_model.register_forward_pre_hook(
        lambda m, args, kwargs: seen.update(kwargs) or None, with_kwargs=True
    )
    model(**inputs)
    assert seen["position_ids"][0].diff().tolist() == [1] * (seen["position_ids"].shape[1] - 1)
    model.generate(**inputs, max_new_tokens=1)
    kept = model.audio_compressor.last.columns[0]
    alive = seen["position_ids"][0][: len(kept)][inputs["attention_mask"][0, kept].bool()]
    assert alive.tolist() == list(range(len(alive)))


def test_the_record_does_not_outlive_its_prompt(kind, model):
    hf_tokcomp.patch(model, "top_k")
    text = {"input_ids": torch.tensor([[9, 10, 11]]), "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    for call in (lambda: model(**text), lambda: model.generate(**text, max_new_tokens=2)):
        model(**tiny.inputs(kind, [0.9]))
        assert model.audio_compressor.last is not None
        call()
        assert model.audio_compressor.last is None
