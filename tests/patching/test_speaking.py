"""Composites speak under compression: text, codes and sound, one prompt and several, saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from speaking import COMPOSITES, NEW, Speaking, speaking
from torch import Tensor
from transformers import LogitsProcessor

import hf_tokcomp
from hf_tokcomp.models.cache_names import CACHE

HALF = [
    {"method": method, "retention_ratio": 0.5, "positions": positions}
    for method in ("average_pooling", "top_k")
    for positions in ("contiguous", "original")
]
ALL = {"method": "stride", "retention_ratio": 1.0}


@pytest.fixture(params=COMPOSITES)
def one(request: pytest.FixtureRequest) -> Speaking:
    return speaking(request.param)


@pytest.fixture
def model(one: Speaking) -> Any:
    return one.subject.model()


@pytest.fixture
def inputs(one: Speaking) -> dict[str, Any]:
    return one.subject.inputs([[0.9, 0.3]])


def lengths(one: Speaking, inputs: dict[str, Any]) -> list[int]:
    return [end - begin for begin, end in one.subject.audio_runs(inputs)[0]]


@pytest.mark.parametrize("compression", ["none", ALL])
@pytest.mark.parametrize("batch", [[[0.9, 0.3]], [[0.9, 0.3], [0.4]]])
def test_with_all_tokens_it_speaks_as_upstream_does(one: Speaking, model: Any, compression: Any, batch: Any) -> None:
    inputs = one.subject.inputs(batch)
    text, codes, sound = one.speak(model, inputs)
    assert len(codes) == len(sound) == len(batch)
    hf_tokcomp.patch(model, compression)
    again, found, heard = one.speak(model, inputs)
    assert torch.equal(again, text)
    assert found == codes
    for a, b in zip(heard, sound, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(one.write(model, inputs), text)


@pytest.mark.parametrize("compression", HALF)
def test_the_text_with_speech_is_that_without_and_the_thinkers_own(
    one: Speaking, model: Any, inputs: dict[str, Any], compression: dict[str, Any]
) -> None:
    upstream, said_upstream, _ = one.speak(model, inputs)
    hf_tokcomp.patch(model, compression)
    text, codes, sound = one.speak(model, inputs)
    before = lengths(one, inputs)
    assert len(before) == 2
    assert model.audio_compressor.last.tokens_before == before
    assert model.audio_compressor.last.tokens_after == [-(-n // 2) for n in before]
    assert torch.equal(text[:, :-NEW], inputs["input_ids"])
    assert torch.equal(text, one.write(model, inputs))
    assert torch.equal(text, model.thinker.generate(**inputs, max_new_tokens=NEW, do_sample=False))
    assert codes != said_upstream
    assert codes[0]
    assert sound[0].numel() == one.samples(len(codes[0]))
    assert bool(sound[0].isfinite().all())
    hf_tokcomp.unpatch(model)
    assert torch.equal(one.speak(model, inputs)[0], upstream)
    alone = hf_tokcomp.patch(model.thinker, compression)
    assert torch.equal(text, alone.generate(**inputs, max_new_tokens=NEW, do_sample=False))


@pytest.mark.parametrize("compression", HALF)
def test_a_row_says_the_same_whatever_stands_beside_it(one: Speaking, model: Any, compression: dict[str, Any]) -> None:
    """In batches with padding: without any, Qwen2.5-Omni's talker gets no mask, and then says something else."""
    rows = [[0.9, 0.3], [0.4], [0.6]]
    hf_tokcomp.patch(model, compression)
    together = one.subject.inputs(rows)
    text, codes, _ = one.speak(model, together)
    windows = [slice(0, 2), slice(2, 3), slice(3, 4)]
    for other in (1, 2):
        own = [0, other]
        pair = {name: value[own] for name, value in together.items()}
        for name in one.subject.patch.audio_keywords & together.keys():
            pair[name] = torch.cat([together[name][windows[row]] for row in own])
        found, said, _ = one.speak(model, pair)
        assert torch.equal(found, text[own])
        assert said == [codes[row] for row in own]


def test_the_talker_is_told_the_thinkers_states_of_the_short_prompt(
    one: Speaking, model: Any, inputs: dict[str, Any]
) -> None:
    hf_tokcomp.patch(model, HALF[0])
    first: dict[str, Tensor] = {}

    def keep(name: str, value: Any) -> None:
        value = getattr(value, "last_hidden_state", value)
        if value is not None:
            first.setdefault(name, (value[0] if isinstance(value, tuple) else value).clone())

    reader, heard = model.thinker.model.language_model, one.heard(model)
    handles = [
        reader.register_forward_pre_hook(lambda _m, _a, k: keep("read", k["inputs_embeds"]), with_kwargs=True),
        heard.register_forward_hook(lambda _m, _a, output: keep("heard", output)),
        model.talker.register_forward_pre_hook(
            lambda _m, _a, k: keep("told", k.get("inputs_embeds")), with_kwargs=True
        ),
    ]
    one.speak(model, inputs)
    for handle in handles:
        handle.remove()
    before = lengths(one, inputs)
    columns = model.audio_compressor.last.columns[0]
    is_audio = inputs["input_ids"][0, columns] == one.subject.patch.audio_token_id(model.thinker)
    assert first["read"].shape[1] == len(columns) == inputs["input_ids"].shape[1] - sum(n // 2 for n in before)
    assert int(is_audio.sum()) == sum(-(-n // 2) for n in before)
    with torch.no_grad():
        wanted = one.told(model, first["read"][0], first["heard"][0], is_audio)
    torch.testing.assert_close(first["told"][0, : len(wanted)], wanted)


class Watching(LogitsProcessor):  # type: ignore[misc]
    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.seen.append(input_ids)
        return scores


def test_what_is_handed_to_the_thinker_sees_the_users_prompt(one: Speaking, model: Any, inputs: dict[str, Any]) -> None:
    hf_tokcomp.patch(model, HALF[0])
    thinking, talking = Watching(), Watching()
    text, codes, _ = one.speak(model, inputs, thinker_logits_processor=[thinking], talker_logits_processor=[talking])
    assert torch.equal(thinking.seen[0], inputs["input_ids"])
    assert torch.equal(thinking.seen[-1], text[:, :-1])
    said = len(talking.seen) - 1
    assert (
        talking.seen[-1][0, -said:].tolist()
        == [frame[0] if type(frame) is list else frame for frame in codes[0]][:said]
    )
    with pytest.raises(ValueError, match="encoder_repetition_penalty"):
        one.write(model, inputs, thinker_encoder_repetition_penalty=1.5)


def test_the_voice_is_given_by_position(one: Speaking, model: Any, inputs: dict[str, Any]) -> None:
    hf_tokcomp.patch(model, HALF[0])
    text, codes, _ = one.speak(model, inputs, speaker=one.speaker)
    ids, others = inputs["input_ids"], {name: value for name, value in inputs.items() if name != "input_ids"}
    options = {"thinker_max_new_tokens": NEW, "thinker_do_sample": False, **one.speech}
    again, sound = model.generate(ids, one.speaker, **others, **options)
    assert torch.equal(again, text)
    assert sound.numel() == one.samples(len(codes[0]))
    with pytest.raises((ValueError, NotImplementedError), match="Nobody"):
        model.generate(ids, "Nobody", **others, **options)


def test_outputs_as_a_dict_and_a_prompt_without_audio(one: Speaking, model: Any, inputs: dict[str, Any]) -> None:
    ids = inputs["input_ids"]
    text_alone = {"input_ids": ids[ids != one.subject.patch.audio_token_id(model.thinker)][None]}
    plain = one.speak(model, text_alone)
    hf_tokcomp.patch(model, HALF[0])
    text = one.write(model, inputs)
    assert torch.equal(one.write(model, inputs, return_dict_in_generate=True).sequences, text)
    again = one.speak(model, text_alone)
    assert torch.equal(again.text, plain.text)
    assert again.codes == plain.codes
    assert torch.equal(one.write(model, text_alone), plain.text)


def test_a_cache_is_refused(one: Speaking, model: Any, inputs: dict[str, Any]) -> None:
    hf_tokcomp.patch(model, HALF[0])
    cache = model.thinker(**inputs, use_cache=True)[CACHE]
    for name in (CACHE, f"thinker_{CACHE}"):
        with pytest.raises(hf_tokcomp.CacheContinuationError, match="several parts cannot go on with a cache"):
            one.write(model, inputs, **{name: cache})
    assert torch.equal(one.write(model, inputs), one.write(model, inputs))


def test_images_beside_audio_are_refused_by_name(one: Speaking, model: Any, inputs: dict[str, Any]) -> None:
    hf_tokcomp.patch(model, HALF[0])
    assert "pixel_values" in one.subject.patch.refuses
    for name in one.subject.patch.refuses:
        with pytest.raises(ValueError, match=f"cannot have `{name}` beside its audio"):
            one.write(model, inputs, **{name: torch.zeros(1, 3, 2, 2)})


@pytest.mark.parametrize("compression", [HALF[0], {"method": "conv_resampler", "retention_ratio": 0.5}])
def test_saved_it_speaks_again_with_its_voices(
    one: Speaking, model: Any, inputs: dict[str, Any], compression: dict[str, Any], tmp_path: Path
) -> None:
    hf_tokcomp.patch(model, compression)
    with torch.no_grad():
        for weight in model.audio_compressor.parameters():  # as if it had been trained
            weight.add_(torch.randn_like(weight), alpha=0.1)
    text, codes, _ = one.speak(model, inputs)
    model.save_pretrained(tmp_path / "half")
    again = type(model).from_pretrained(tmp_path / "half").eval()
    assert hf_tokcomp.active_config(again) == hf_tokcomp.active_config(model)
    assert torch.equal(one.speak(again, inputs)[0], text)
    assert one.speak(again, inputs)[1] == codes


def test_it_is_compressed_as_it_is_loaded(one: Speaking, model: Any, inputs: dict[str, Any], tmp_path: Path) -> None:
    hf_tokcomp.patch(model, "none").save_pretrained(tmp_path)
    half = type(model).from_pretrained(tmp_path, compression=HALF[1]).eval()
    assert torch.equal(one.write(half, inputs), one.write(hf_tokcomp.patch(model, HALF[1]), inputs))


def test_without_its_talker_qwen3_omni_writes() -> None:
    """Qwen2.5-Omni's `generate` looks for its talker even if it is to write."""
    one = speaking("qwen3_omni_moe")
    model, inputs = hf_tokcomp.patch(one.subject.model(), HALF[0]), one.subject.inputs([[0.9, 0.3]])
    options = {"thinker_max_new_tokens": NEW, "thinker_do_sample": False}
    text = model.generate(**inputs, **options, return_audio=False)
    assert torch.equal(text, one.write(model, inputs))
    model.disable_talker()
    assert torch.equal(model.generate(**inputs, **options), text)
    with pytest.raises(ValueError, match="talker module not initialized"):
        model.generate(**inputs, **options, generation_mode="audio")
    assert torch.equal(model.generate(**inputs, **options), text)
