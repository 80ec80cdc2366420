"""Continuing on a cache we filled, and decode loops written by hand: right, or an error that says what to do.

The cases by name are those that were silently wrong in a first trial of this design.
"""

from __future__ import annotations

import copy

import pytest
import tiny
import torch
from transformers import DynamicCache, StaticCache

import hf_tokcomp
from hf_tokcomp import CacheContinuationError
from hf_tokcomp.generation.cache_guard import starts_anew
from hf_tokcomp.models.cache_names import CACHE


@pytest.fixture(params=["contiguous", "original"])
def patched(request, model):
    return hf_tokcomp.patch(model, {"method": "top_k", "retention_ratio": 0.4, "positions": request.param})


@pytest.fixture
def inputs(kind, seconds):
    return tiny.inputs(kind, seconds)


@pytest.fixture
def expected(patched, inputs):
    return patched.generate(**inputs, max_new_tokens=6, do_sample=False)[:, inputs["input_ids"].shape[1] :]


def ones(rows, columns):
    return torch.ones(rows, columns, dtype=torch.long)


@pytest.mark.parametrize("mask", ["long", "short", "none"])
@pytest.mark.parametrize("positions", ["given", "left out"])
def test_hand_written_decode_loop_on_new_ids(patched, inputs, expected, mask, positions):
    out = patched(**inputs, use_cache=True)
    prompt, short = inputs["input_ids"].shape[1], out.logits.shape[1]
    long_mask, tokens = inputs["attention_mask"], []
    short_mask = (patched.audio_compressor.last.columns >= 0).long()
    for step in range(expected.shape[1]):
        token = out.logits[:, -1].argmax(-1, keepdim=True)
        tokens.append(token)
        options = {}
        if mask == "long":
            options["attention_mask"] = torch.cat([long_mask, ones(len(token), step + 1)], 1)
        elif mask == "short":
            options["attention_mask"] = torch.cat([short_mask, ones(len(token), step + 1)], 1)
        if positions == "given":
            options["position_ids"] = (long_mask.sum(1) + step)[:, None]
        out = patched(input_ids=token, past_key_values=out.past_key_values, use_cache=True, **options)
        assert out.past_key_values.get_seq_length() == short + step + 1
    assert torch.equal(torch.cat(tokens, 1), expected)
    assert prompt > short


def test_hand_written_decode_loop_that_passes_everything_again(patched, inputs, expected):
    """Full ids, full mask and the audio at every step, as `forward` gets them from naive loops."""
    state = dict(inputs)
    cache, tokens = None, []
    for _ in range(expected.shape[1]):
        out = patched(**state, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        tokens.append(out.logits[:, -1].argmax(-1, keepdim=True))
        state["input_ids"] = torch.cat([state["input_ids"], tokens[-1]], 1)
        state["attention_mask"] = torch.cat([state["attention_mask"], ones(len(tokens[-1]), 1)], 1)
    assert torch.equal(torch.cat(tokens, 1), expected)


def test_hand_written_decode_loop_without_a_cache(patched, inputs, expected):
    state, tokens = dict(inputs), []
    for _ in range(3):
        tokens.append(patched(**state, use_cache=False).logits[:, -1].argmax(-1, keepdim=True))
        state["input_ids"] = torch.cat([state["input_ids"], tokens[-1]], 1)
        state["attention_mask"] = torch.cat([state["attention_mask"], ones(len(tokens[-1]), 1)], 1)
    assert torch.equal(torch.cat(tokens, 1), expected[:, :3])


def test_decode_loop_through_prepare_inputs_for_generation(patched, inputs, expected):
    out = patched(**inputs, use_cache=True)
    ids, mask, tokens = inputs["input_ids"], inputs["attention_mask"], []
    for _ in range(3):
        tokens.append(out.logits[:, -1].argmax(-1, keepdim=True))
        ids = torch.cat([ids, tokens[-1]], 1)
        mask = torch.cat([mask, ones(len(ids), 1)], 1)
        step = patched.prepare_inputs_for_generation(
            ids, next_sequence_length=1, past_key_values=out.past_key_values, attention_mask=mask, use_cache=True
        )
        out = patched(**step)
    assert torch.equal(torch.cat(tokens, 1), expected[:, :3])


@pytest.mark.parametrize("cache_class", [DynamicCache, StaticCache])
def test_a_cache_the_user_made(patched, inputs, expected, cache_class):
    text = patched.config.get_text_config()
    cache = DynamicCache(config=text) if cache_class is DynamicCache else StaticCache(config=text, max_cache_len=200)
    out = patched(**inputs, past_key_values=cache, use_cache=True)
    token = out.logits[:, -1].argmax(-1, keepdim=True)
    mask = torch.cat([inputs["attention_mask"], ones(len(token), 1)], 1)
    second = patched(input_ids=token, attention_mask=mask, past_key_values=cache, use_cache=True)
    assert torch.equal(second.logits[:, -1].argmax(-1), expected[:, 1])


def test_tuple_outputs_remember_too(patched, inputs, expected):
    out = patched(**inputs, use_cache=True, return_dict=False)
    token = out[0][:, -1].argmax(-1, keepdim=True)
    mask = torch.cat([inputs["attention_mask"], ones(len(token), 1)], 1)
    second = patched(input_ids=token, attention_mask=mask, past_key_values=out[1], use_cache=True)
    assert torch.equal(second.logits[:, -1].argmax(-1), expected[:, 1])


@pytest.mark.parametrize("audio_again", [False, True])
@pytest.mark.parametrize("ids", ["all", "new"])
def test_generate_continues_on_the_returned_cache(patched, inputs, audio_again, ids):
    """A second turn on the cache of the first equals the whole conversation at once."""
    first = patched.generate(**inputs, max_new_tokens=3, do_sample=False, return_dict_in_generate=True)
    turn = torch.tensor([[9, 10, 11]]).expand(len(first.sequences), -1)
    whole = torch.cat([first.sequences, turn], 1)
    mask = torch.cat([inputs["attention_mask"], ones(len(whole), 6)], 1)
    audio = {k: v for k, v in inputs.items() if "features" in k or "feature" in k}
    expected = patched.generate(input_ids=whole, attention_mask=mask, **audio, max_new_tokens=4, do_sample=False)
    given = whole if ids == "all" else whole[:, inputs["input_ids"].shape[1] + 2 :]
    continued = patched.generate(
        input_ids=given,
        attention_mask=mask,
        past_key_values=first.past_key_values,
        max_new_tokens=4,
        do_sample=False,
        **(audio if audio_again else {}),
    )
    assert torch.equal(continued[:, : given.shape[1]], given)
    assert torch.equal(continued[:, -4:], expected[:, -4:])


def test_three_turns_and_a_copied_cache(patched, inputs):
    first = patched.generate(**inputs, max_new_tokens=2, do_sample=False, return_dict_in_generate=True)
    stored = copy.deepcopy(first.past_key_values)
    sequences, mask = first.sequences, torch.cat([inputs["attention_mask"], ones(len(first.sequences), 2)], 1)
    for cache in (first.past_key_values, stored):
        ids, seen = sequences, mask
        for _ in range(2):
            ids = torch.cat([ids, torch.full((len(ids), 1), 9)], 1)
            seen = torch.cat([seen, ones(len(ids), 1)], 1)
            out = patched.generate(
                input_ids=ids,
                attention_mask=seen,
                past_key_values=cache,
                max_new_tokens=2,
                do_sample=False,
                return_dict_in_generate=True,
            )
            ids, cache = out.sequences, out.past_key_values
            seen = torch.cat([seen, ones(len(ids), 2)], 1)
        audio = {k: v for k, v in inputs.items() if "feature" in k}
        expected = patched.generate(
            input_ids=ids[:, :-2], attention_mask=seen[:, :-2], **audio, max_new_tokens=2, do_sample=False
        )
        assert torch.equal(ids, expected)


def test_max_length_on_a_continued_cache(patched, inputs):
    first = patched.generate(**inputs, max_new_tokens=2, do_sample=False, return_dict_in_generate=True)
    ids = torch.cat([first.sequences, torch.full((len(first.sequences), 1), 9)], 1)
    mask = torch.cat([inputs["attention_mask"], ones(len(ids), 3)], 1)
    out = patched.generate(
        input_ids=ids, attention_mask=mask, past_key_values=first.past_key_values, max_length=ids.shape[1] + 3
    )
    assert out.shape[1] == ids.shape[1] + 3


def test_a_continued_cache_keeps_its_memory_after_unpatching_to_none(patched, inputs, expected):
    """The memory belongs to the cache, not to the method that filled it."""
    out = patched(**inputs, use_cache=True)
    hf_tokcomp.patch(patched, "none")
    token = out.logits[:, -1].argmax(-1, keepdim=True)
    mask = torch.cat([inputs["attention_mask"], ones(len(token), 1)], 1)
    second = patched(input_ids=token, attention_mask=mask, past_key_values=out.past_key_values, use_cache=True)
    assert torch.equal(second.logits[:, -1].argmax(-1), expected[:, 1])


def test_an_emptied_cache_forgets(patched, inputs, expected):
    cache = DynamicCache(config=patched.config.get_text_config())
    patched(**inputs, past_key_values=cache, use_cache=True)
    cache.crop(-cache.get_seq_length())
    out = patched(**inputs, past_key_values=cache, use_cache=True)
    assert torch.equal(out.logits[:, -1].argmax(-1), expected[:, 0])


class TestRaises:
    @pytest.fixture
    def filled(self, patched, inputs):
        return patched(**inputs, use_cache=True).past_key_values

    def test_mask_of_another_length(self, patched, inputs, filled):
        token = inputs["input_ids"][:, -1:]
        with pytest.raises(CacheContinuationError, match="attention_mask` must be"):
            patched(input_ids=token, attention_mask=ones(len(token), 5), past_key_values=filled)

    def test_new_audio_behind_the_cache(self, patched, inputs, filled):
        new = torch.where(inputs["input_ids"] == 8, 9, inputs["input_ids"])
        new[:, 0] = 9  # no longer the prompt that the cache was filled with
        with pytest.raises(CacheContinuationError, match="audio placeholders behind the cache"):
            patched(**{**inputs, "input_ids": new, "attention_mask": None}, past_key_values=filled)

    def test_audio_behind_a_cache_of_unknown_history(self, kind, patched, inputs):
        text = torch.tensor([[9, 10, 11]] * len(inputs["input_ids"]))
        cache = patched(input_ids=text, use_cache=True).past_key_values
        for call in (patched, lambda **kw: patched.generate(**kw, max_new_tokens=2)):
            with pytest.raises(CacheContinuationError, match="earlier cache"):
                call(**inputs, past_key_values=copy.deepcopy(cache))

    def test_other_rows(self, patched, inputs, filled):
        with pytest.raises(CacheContinuationError, match="same rows"):
            patched(input_ids=torch.tensor([[9], [9]]), past_key_values=filled)

    def test_cropped_into_the_prompt(self, patched, inputs, filled):
        filled.crop(-2)
        with pytest.raises(CacheContinuationError, match="cropped"):
            patched(input_ids=inputs["input_ids"][:, -1:], past_key_values=filled)

    def test_nothing_new(self, patched, inputs, filled):
        with pytest.raises(CacheContinuationError, match="no token"):
            patched(**inputs, past_key_values=filled)

    def test_embeddings_on_the_cache(self, patched, inputs, filled):
        embeds = patched.get_input_embeddings()(inputs["input_ids"][:, -1:])
        with pytest.raises(CacheContinuationError, match="input_ids"):
            patched(inputs_embeds=embeds, past_key_values=filled)

    def test_positions_that_do_not_count_on(self, patched, inputs, filled):
        ids = inputs["input_ids"][:, -2:]
        with pytest.raises(CacheContinuationError, match="position_ids"):
            patched(input_ids=ids, position_ids=torch.tensor([[5, 9]]), past_key_values=filled)

    def test_labels_on_the_cache(self, patched, inputs, filled):
        ids = inputs["input_ids"][:, -2:]
        with pytest.raises(ValueError, match="loss on a continued cache"):
            patched(input_ids=ids, labels=ids, past_key_values=filled)


def test_text_cache_without_new_audio_is_upstreams_business(kind, model):
    """A text-only conversation on a patched model behaves as on an unpatched one."""
    text = torch.tensor([[9, 10, 11]])
    mask = ones(1, 3)
    expected = model.generate(input_ids=text, attention_mask=mask, max_new_tokens=4, do_sample=False)
    hf_tokcomp.patch(model, "top_k")
    first = model.generate(
        input_ids=text, attention_mask=mask, max_new_tokens=2, do_sample=False, return_dict_in_generate=True
    )
    second = model.generate(
        input_ids=first.sequences,
        attention_mask=ones(1, 5),
        past_key_values=first.past_key_values,
        max_new_tokens=2,
        do_sample=False,
    )
    assert torch.equal(second, expected)


class TestGuards:
    """What the cache itself keeps right while it has a memory."""

    def test_unpatched_it_refuses_to_go_on(self, kind, model, inputs):
        with hf_tokcomp.compressed(model, "top_k"):
            first = model.generate(**inputs, max_new_tokens=2, do_sample=False, return_dict_in_generate=True)
        ids = torch.cat([first.sequences, torch.full((len(first.sequences), 1), 9)], 1)
        mask = torch.cat([inputs["attention_mask"], ones(len(ids), 3)], 1)
        with pytest.raises(CacheContinuationError, match="only a patched model"):
            model.generate(input_ids=ids, attention_mask=mask, past_key_values=first.past_key_values)
        with pytest.raises(CacheContinuationError, match="only a patched model"):
            model(input_ids=ids[:, -1:], past_key_values=first.past_key_values)
        audio = {k: v for k, v in inputs.items() if "feature" in k}
        hf_tokcomp.patch(model, "top_k")
        expected = model.generate(input_ids=ids, attention_mask=mask, **audio, max_new_tokens=2, do_sample=False)
        hf_tokcomp.patch(model, "none")
        out = model.generate(
            input_ids=ids, attention_mask=mask, past_key_values=first.past_key_values, max_new_tokens=2, do_sample=False
        )
        assert torch.equal(out, expected)

    @pytest.mark.parametrize("change", ["reorder_cache", "batch_select_indices", "batch_repeat_interleave"])
    def test_rows_follow_the_cache(self, patched, inputs, expected, change):
        out = patched(**inputs, use_cache=True)
        cache = out.past_key_values
        rows = torch.tensor([2, 0, 1])
        if change == "batch_select_indices":
            rows = torch.tensor([2, 1])
        if change == "batch_repeat_interleave":
            rows = torch.tensor([0, 0, 1, 1, 2, 2])
        getattr(cache, change)(2 if change == "batch_repeat_interleave" else rows)
        token = out.logits[:, -1].argmax(-1, keepdim=True)[rows]
        mask = torch.cat([inputs["attention_mask"][rows], ones(len(rows), 1)], 1)
        second = patched(input_ids=token, attention_mask=mask, past_key_values=cache, use_cache=True)
        assert second.logits[:, -1].argmax(-1).tolist() == expected[rows, 1].tolist()

    def test_a_failed_generate_leaves_a_cache_that_knows(self, patched, inputs, expected):
        class Stop(Exception):
            pass

        def fail(batch_id, ids):
            if ids.shape[0] > inputs["input_ids"].shape[1]:
                raise Stop
            return list(range(7, 21))

        cache = DynamicCache(config=patched.config.get_text_config())
        with pytest.raises(Stop):
            patched.generate(**inputs, past_key_values=cache, max_new_tokens=3, prefix_allowed_tokens_fn=fail)
        done = cache.get_seq_length() - patched.audio_compressor.last.columns.shape[1]
        state = {"input_ids": torch.cat([inputs["input_ids"], expected[:, : done + 1]], 1)}
        state["attention_mask"] = torch.cat([inputs["attention_mask"], ones(len(expected), done + 1)], 1)
        out = patched(**state, past_key_values=cache, use_cache=True)
        assert torch.equal(out.logits[:, -1].argmax(-1), expected[:, done + 1])

    def test_another_prompt_is_refused_even_without_a_mask(self, patched, inputs):
        out = patched.generate(**inputs, max_new_tokens=2, do_sample=False, return_dict_in_generate=True)
        turned = out.sequences.flip(0)
        repadded = torch.cat([torch.zeros(len(turned), 2, dtype=torch.long), out.sequences], 1)
        for ids in (turned, repadded):
            with pytest.raises(CacheContinuationError, match="not the prompt"):
                patched.generate(input_ids=ids, past_key_values=out.past_key_values, max_new_tokens=2)

    @pytest.mark.parametrize("cache_class", [DynamicCache, StaticCache])
    def test_decoding_steps_do_not_read_the_caches_length(self, model, monkeypatch, cache_class):
        """A static cache keeps it on the device: reading it at every step would wait for the device at every step."""
        text = model.config.get_text_config()
        cache = DynamicCache(config=text) if cache_class is DynamicCache else StaticCache(config=text, max_cache_len=20)
        prompt, step = {"input_ids": torch.tensor([[9, 10]])}, {"input_ids": torch.tensor([[11]])}
        assert starts_anew(prompt)
        assert starts_anew(step)
        assert starts_anew(prompt | {CACHE: cache})
        assert starts_anew(step | {CACHE: cache})
        model(**prompt, past_key_values=cache, use_cache=True)
        assert not starts_anew(prompt | {CACHE: cache})
        monkeypatch.setattr(cache_class, "get_seq_length", None)
        assert not starts_anew(step | {CACHE: cache})
