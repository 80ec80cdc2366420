"""`generate` in all its modes: what comes back, and what the user's own objects see, is the user's prompt."""

from __future__ import annotations

import copy

import pytest
import tiny
import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.generation.streamers import BaseStreamer

import hf_tokcomp

CONFIG = {"method": "ltbm", "retention_ratio": 0.4}


@pytest.fixture(params=["contiguous", "original"])
def patched(request, model):
    return hf_tokcomp.patch(model, CONFIG | {"positions": request.param})


@pytest.fixture
def inputs(kind, seconds):
    return tiny.inputs(kind, seconds)


@pytest.fixture
def single(kind):
    return tiny.inputs(kind, [0.8])


def new_tokens(ids, inputs):
    return ids[:, inputs["input_ids"].shape[1] :]


def test_sampling_is_greedy_at_temperature_zero_and_begins_with_the_prompt(patched, inputs):
    greedy = patched.generate(**inputs, max_new_tokens=4, do_sample=False)
    sampled = patched.generate(**inputs, max_new_tokens=4, do_sample=True, top_k=1)
    assert torch.equal(sampled, greedy)
    several = patched.generate(**inputs, max_new_tokens=4, do_sample=True, num_return_sequences=3)
    assert torch.equal(several[:, : inputs["input_ids"].shape[1]], inputs["input_ids"].repeat_interleave(3, 0))


def test_beams_equal_an_exhaustive_search(patched, single):
    """With as many beams as tokens, two steps of beam search find the best of all pairs."""
    words = patched.config.get_text_config().vocab_size
    found = new_tokens(patched.generate(**single, max_new_tokens=2, num_beams=words, do_sample=False), single)
    first = patched(**single).logits[0, -1].log_softmax(-1)
    scores = []
    for token in range(words):
        if token == patched.config.audio_token_id:  # would be a placeholder without audio
            scores.append(torch.full((words,), -torch.inf))
            continue
        more = {**single, "input_ids": torch.cat([single["input_ids"], torch.tensor([[token]])], 1)}
        more["attention_mask"] = torch.ones_like(more["input_ids"])
        scores.append(first[token] + patched(**more).logits[0, -1].log_softmax(-1))
    best = int(torch.stack(scores).argmax())
    assert found[0].tolist() == [best // words, best % words]


def test_beams_and_return_dict(patched, inputs):
    out = patched.generate(
        **inputs,
        max_new_tokens=3,
        num_beams=3,
        num_return_sequences=2,
        return_dict_in_generate=True,
        output_scores=True,
    )
    prompt = inputs["input_ids"]
    assert out.sequences.shape == (2 * len(prompt), prompt.shape[1] + 3)
    assert torch.equal(out.sequences[:, : prompt.shape[1]], prompt.repeat_interleave(2, 0))
    scores = patched.compute_transition_scores(out.sequences, out.scores, out.beam_indices, normalize_logits=False)
    torch.testing.assert_close(scores.sum(1) / 3, out.sequences_scores, atol=1e-4, rtol=1e-4)


def test_return_dict_has_short_states_and_long_sequences(patched, inputs):
    out = patched.generate(
        **inputs, max_new_tokens=3, do_sample=False, return_dict_in_generate=True, output_hidden_states=True
    )
    columns = patched.audio_compressor.last.columns
    assert out.sequences.shape[1] == inputs["input_ids"].shape[1] + 3
    assert out.hidden_states[0][0].shape[1] == columns.shape[1] < inputs["input_ids"].shape[1]
    assert out.past_key_values.get_seq_length() == columns.shape[1] + 2


def test_ragged_batch_equals_alone(kind, patched, inputs, seconds):
    together = new_tokens(patched.generate(**inputs, max_new_tokens=5, do_sample=False), inputs)
    for i, length in enumerate(seconds):
        processor = tiny.processor(kind)
        text = tiny.prompt(kind, words=" ".join(tiny.WORDS[: 3 + 2 * (i % 2)]))
        alone = tiny.process(processor, kind, [text], [tiny.sound(length, seed=i)])
        assert torch.equal(
            new_tokens(patched.generate(**alone, max_new_tokens=5, do_sample=False), alone)[0], together[i]
        )


class Recorder(BaseStreamer):
    def __init__(self):
        self.values, self.ended = [], False

    def put(self, value):
        self.values.append(value)

    def end(self):
        self.ended = True


def test_streamers_get_the_original_prompt_first(patched, single):
    streamer = Recorder()
    ids = patched.generate(**single, max_new_tokens=4, do_sample=False, streamer=streamer)
    assert torch.equal(streamer.values[0], single["input_ids"])
    assert torch.cat([v.flatten() for v in streamer.values]).tolist() == ids[0].tolist()
    assert streamer.ended


def test_static_cache(patched, inputs):
    expected = patched.generate(**inputs, max_new_tokens=5, do_sample=False)
    static = patched.generate(**inputs, max_new_tokens=5, do_sample=False, cache_implementation="static")
    assert torch.equal(static, expected)


def test_compiled_language_model(model, inputs):
    """Compiled alone, in whole graphs, it gives the same; and other numbers of tokens need no graphs of their own."""
    hf_tokcomp.patch(model, CONFIG)
    expected = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    graphs = []

    def keep(graph, examples):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    language_model = model.model.language_model
    language_model.forward = torch.compile(language_model.forward, backend=keep, fullgraph=True, dynamic=True)
    assert torch.equal(model.generate(**inputs, max_new_tokens=4, do_sample=False), expected)
    made = []
    for ratio in (0.7, 0.5, 0.6):
        hf_tokcomp.patch(model, CONFIG | {"retention_ratio": ratio})
        model.generate(**inputs, max_new_tokens=4, do_sample=False)
        made.append(len(graphs))
    assert made[0] == made[-1] > 0


def test_use_cache_false_gives_the_same(patched, inputs):
    expected = patched.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert torch.equal(patched.generate(**inputs, max_new_tokens=4, do_sample=False, use_cache=False), expected)


@pytest.mark.parametrize("where", ["keyword", "given config", "model's config"])
def test_max_and_min_length_count_the_original_prompt(patched, inputs, where):
    prompt = inputs["input_ids"].shape[1]
    words = range(patched.config.get_text_config().vocab_size)
    patched.generation_config.eos_token_id = [word for word in words if word != 9]
    free = patched.generate(**inputs, max_length=prompt + 4, do_sample=False)
    assert (new_tokens(free, inputs)[:, 0] != 9).any()
    expected = {"max_length": prompt + 4, "min_length": prompt + 3, "do_sample": False}
    if where == "keyword":
        ids = patched.generate(**inputs, **expected)
    elif where == "given config":
        config = GenerationConfig(**expected, pad_token_id=0, eos_token_id=patched.generation_config.eos_token_id)
        before = copy.deepcopy(config)
        ids = patched.generate(**inputs, generation_config=config)
        assert config == before
    else:
        patched.generation_config.max_length, patched.generation_config.min_length = prompt + 4, prompt + 3
        patched.generation_config.do_sample = False
        ids = patched.generate(**inputs)
        assert patched.generation_config.max_length == prompt + 4
    # Every token but one ends the sequence, so it is said for as long as min_length forbids an end.
    assert ids.shape[1] == prompt + 4
    assert (new_tokens(ids, inputs)[:, :3] == 9).all()
    assert (new_tokens(ids, inputs)[:, 3] != 9).any()


def test_max_length_alone_limits(patched, inputs):
    prompt = inputs["input_ids"].shape[1]
    assert patched.generate(**inputs, max_length=prompt + 2, do_sample=False).shape[1] == prompt + 2
    assert patched.generate(**inputs, max_new_tokens=2, do_sample=False).shape[1] == prompt + 2
    with pytest.raises(ValueError, match="counts the uncompressed prompt"):
        patched.generate(**inputs, max_length=prompt, do_sample=False)


class SeesPrompt(LogitsProcessor):
    """Forbids one token, and remembers what it was shown."""

    def __init__(self, forbidden):
        self.forbidden, self.seen = forbidden, []

    def __call__(self, input_ids, scores):
        self.seen.append(input_ids.clone())
        scores[:, self.forbidden] = -torch.inf
        return scores


class StopsAt(StoppingCriteria):
    def __init__(self, length):
        self.length, self.seen = length, []

    def __call__(self, input_ids, scores, **kwargs):
        self.seen.append(input_ids.clone())
        return torch.full((len(input_ids),), input_ids.shape[1] >= self.length)


def test_user_objects_see_the_original_prompt(patched, inputs):
    prompt = inputs["input_ids"]
    free = new_tokens(patched.generate(**inputs, max_new_tokens=4, do_sample=False), inputs)
    processor, criterion = SeesPrompt(int(free[0, 0])), StopsAt(prompt.shape[1] + 2)
    ids = patched.generate(
        **inputs,
        max_new_tokens=4,
        do_sample=False,
        logits_processor=LogitsProcessorList([processor]),
        stopping_criteria=StoppingCriteriaList([criterion]),
    )
    assert ids.shape[1] == prompt.shape[1] + 2
    assert int(ids[0, prompt.shape[1]]) != int(free[0, 0])
    assert [seen.shape[1] - prompt.shape[1] for seen in processor.seen][:2] == [0, 1]
    for seen in [*processor.seen, *criterion.seen]:
        assert torch.equal(seen[:, : prompt.shape[1]], prompt)


@pytest.mark.parametrize("beams", [1, 2])
def test_prefix_allowed_tokens_fn_sees_the_original_prompt(patched, inputs, beams):
    prompt, calls = inputs["input_ids"], []

    def allowed(batch_id, ids):
        calls.append(batch_id)
        assert torch.equal(ids[: prompt.shape[1]], prompt[batch_id])
        return [8 + batch_id]

    ids = patched.generate(
        **inputs, max_new_tokens=2, do_sample=False, num_beams=beams, prefix_allowed_tokens_fn=allowed
    )
    assert new_tokens(ids, inputs).tolist() == [[8 + i] * 2 for i in range(len(prompt))]
    assert set(calls) == set(range(len(prompt)))


def test_positional_inputs(patched, single):
    rest = {k: v for k, v in single.items() if k != "input_ids"}
    expected = patched.generate(**single, max_new_tokens=3, do_sample=False)
    assert torch.equal(patched.generate(single["input_ids"], **rest, max_new_tokens=3, do_sample=False), expected)
    config = GenerationConfig(max_new_tokens=3, do_sample=False, pad_token_id=0)
    assert torch.equal(patched.generate(single["input_ids"], config, **rest), expected)


def test_a_typo_is_still_an_error(patched, single):
    with pytest.raises(ValueError, match="max_new_token"):
        patched.generate(**single, max_new_token=3)


def test_what_upstream_cannot_do_with_audio_is_refused(patched, single):
    with pytest.raises(ValueError, match="prefill_chunk_size"):
        patched.generate(**single, max_new_tokens=2, prefill_chunk_size=4)
    with pytest.raises(ValueError, match="paged"):
        patched.generate(**single, max_new_tokens=2, cache_implementation="paged")


def test_gradients_are_off(patched, single):
    with torch.enable_grad():
        patched.generate(**single, max_new_tokens=2, do_sample=False)
    assert patched.audio_compressor.last.tokens_after[0] < patched.audio_compressor.last.tokens_before[0]


def test_a_prompt_that_ends_in_audio(kind):
    """In original positions the answer begins where the full audio ended, wherever the last kept token was."""
    import reference

    model = tiny.model(kind)
    processor = tiny.processor(kind)
    text = "what is <|AUDIO|>" if kind == "qwen2_audio" else "what is <sound>"
    inputs = tiny.process(processor, kind, [text], [tiny.sound(0.8)])
    for positions in ("contiguous", "original"):
        config = hf_tokcomp.CompressionConfig(method="stride", retention_ratio=0.25, positions=positions)
        hf_tokcomp.unpatch(model)
        _, expected = reference.greedy(model, kind, inputs, config, new=5)
        hf_tokcomp.patch(model, config)
        assert new_tokens(model.generate(**inputs, max_new_tokens=5, do_sample=False), inputs)[0].tolist() == expected


class TestPaddingWithoutAMask:
    """Upstream's `generate` infers the mask from the padding's ids, and so does a patched model's."""

    @pytest.fixture
    def inputs(self, kind, seconds):
        return tiny.inputs(kind, seconds)

    @pytest.mark.parametrize("positions", ["contiguous", "original"])
    def test_as_with_the_mask(self, kind, model, inputs, positions):
        hf_tokcomp.patch(model, {"method": "top_k", "retention_ratio": 0.4, "positions": positions})
        assert not bool(inputs["attention_mask"].all())
        wanted = model.generate(**inputs, max_new_tokens=5, do_sample=False)
        del inputs["attention_mask"]
        for more in ({}, {"pad_token_id": 0}, {"generation_config": GenerationConfig(pad_token_id=0)}):
            assert torch.equal(model.generate(**inputs, max_new_tokens=5, do_sample=False, **more), wanted)

    def test_as_upstream_at_full_retention(self, kind, model, inputs):
        del inputs["attention_mask"]
        with hf_tokcomp.compressed(model, "none"):
            wanted = model.generate(**inputs, max_new_tokens=5, do_sample=False)
        with hf_tokcomp.compressed(model, {"method": "top_k", "retention_ratio": 1.0}):
            assert torch.equal(model.generate(**inputs, max_new_tokens=5, do_sample=False), wanted)

    def test_where_padding_looks_like_an_end_nothing_is_inferred(self, kind, model, inputs):
        del inputs["attention_mask"]
        options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0, "eos_token_id": [0, 2]}
        with hf_tokcomp.compressed(model, "none"):
            wanted = model.generate(**inputs, **options)
        with hf_tokcomp.compressed(model, {"method": "top_k", "retention_ratio": 1.0}):
            assert torch.equal(model.generate(**inputs, **options), wanted)
