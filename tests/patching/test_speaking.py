"""Qwen2.5-Omni speaks under compression: text, codes and sound, one prompt and several, saved and loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hf_tokcomp.patches.qwen2_5_omni import PATCH
from torch import Tensor
from transformers import LogitsProcessor

import hf_tokcomp
from hf_tokcomp.models.cache_names import CACHE
from hf_tokcomp.models.versions import verdict

if (problem := verdict(PATCH)) is not None:
    pytest.skip(problem, allow_module_level=True)
from subjects.qwen2_5_omni import CODES, SPEAKER, SUBJECT

NEW = 5
TEXT = {"thinker_max_new_tokens": NEW, "thinker_do_sample": False}
SPEECH = {
    "talker_max_new_tokens": 8,
    "talker_do_sample": False,
    "talker_eos_token_id": [CODES + 1],
    "token2wav_num_steps": 2,
}
HALF = [
    {"method": method, "retention_ratio": 0.5, "positions": positions}
    for method in ("average_pooling", "top_k")
    for positions in ("contiguous", "original")
]
ALL = {"method": "stride", "retention_ratio": 1.0}


@pytest.fixture
def model() -> Any:
    return SUBJECT.model()


@pytest.fixture
def inputs() -> dict[str, Any]:
    return SUBJECT.inputs([[0.9, 0.3]])


def speak(model: Any, inputs: dict[str, Any], **options: Any) -> tuple[Tensor, list[list[int]], list[Tensor]]:
    """The text, each row's codes as the vocoder gets them, and its sound."""
    codes: list[list[int]] = []
    handle = model.token2wav.register_forward_pre_hook(lambda _module, args: codes.append(args[0][0].tolist()))
    torch.manual_seed(0)  # the vocoder begins with noise
    try:
        text, sound = model.generate(**inputs, **TEXT | SPEECH | options)
    finally:
        handle.remove()
    return text, codes, sound if isinstance(sound, list) else [sound]


def write(model: Any, inputs: dict[str, Any], **options: Any) -> Tensor:
    return model.generate(**inputs, **TEXT | options, generation_mode="text")  # type: ignore[no-any-return]


@pytest.mark.parametrize("compression", ["none", ALL])
@pytest.mark.parametrize("batch", [[[0.9, 0.3]], [[0.9, 0.3], [0.4]]])
def test_with_all_tokens_it_speaks_as_upstream_does(model: Any, compression: Any, batch: Any) -> None:
    inputs = SUBJECT.inputs(batch)
    text, codes, sound = speak(model, inputs)
    assert len(codes) == len(sound) == len(batch)
    hf_tokcomp.patch(model, compression)
    again, found, heard = speak(model, inputs)
    assert torch.equal(again, text)
    assert found == codes
    for one, other in zip(heard, sound, strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(write(model, inputs), text)


@pytest.mark.parametrize("compression", HALF)
def test_the_text_with_speech_is_that_without_and_the_thinkers_own(
    model: Any, inputs: dict[str, Any], compression: dict[str, Any]
) -> None:
    upstream, said_upstream, _ = speak(model, inputs)
    hf_tokcomp.patch(model, compression)
    text, codes, sound = speak(model, inputs)
    assert model.audio_compressor.last.tokens_before == [22, 7]
    assert model.audio_compressor.last.tokens_after == [11, 4]
    assert torch.equal(text[:, :-NEW], inputs["input_ids"])
    assert torch.equal(text, write(model, inputs))
    assert torch.equal(text, model.thinker.generate(**inputs, max_new_tokens=NEW, do_sample=False))
    assert codes != said_upstream
    assert codes[0]
    assert sound[0].shape == (8 * len(codes[0]),)
    assert bool(sound[0].isfinite().all())
    hf_tokcomp.unpatch(model)
    assert torch.equal(speak(model, inputs)[0], upstream)
    alone = hf_tokcomp.patch(model.thinker, compression)
    assert torch.equal(text, alone.generate(**inputs, max_new_tokens=NEW, do_sample=False))


@pytest.mark.parametrize("compression", HALF)
def test_a_row_says_the_same_whatever_stands_beside_it(model: Any, compression: dict[str, Any]) -> None:
    """In batches with padding: without any, upstream's talker gets no mask, and then says something else."""
    rows = [[0.9, 0.3], [0.4], [0.6]]
    hf_tokcomp.patch(model, compression)
    together = SUBJECT.inputs(rows)
    text, codes, _ = speak(model, together)
    windows = [slice(0, 2), slice(2, 3), slice(3, 4)]
    for other in (1, 2):
        own = [0, other]
        pair = {name: value[own] for name, value in together.items()}
        for name in SUBJECT.patch.audio_keywords & together.keys():
            pair[name] = torch.cat([together[name][windows[row]] for row in own])
        found, said, _ = speak(model, pair)
        assert torch.equal(found, text[own])
        assert said == [codes[row] for row in own]


def test_the_talker_is_not_told_what_the_audio_was(model: Any, inputs: dict[str, Any]) -> None:
    """In the audio's place it gets the thinker's last state alone, elsewhere the embedding beside it."""
    hf_tokcomp.patch(model, HALF[0])
    first: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor | None) -> None:
        if value is not None:
            first.setdefault(name, value.clone())

    reader = model.thinker.model.language_model
    handles = [
        reader.register_forward_pre_hook(lambda _m, _a, k: keep("read", k["inputs_embeds"]), with_kwargs=True),
        reader.register_forward_hook(lambda _m, _a, output: keep("states", output.last_hidden_state)),
        model.talker.register_forward_pre_hook(
            lambda _m, _a, k: keep("told", k.get("inputs_embeds")), with_kwargs=True
        ),
    ]
    speak(model, inputs)
    for handle in handles:
        handle.remove()
    short = first["read"].shape[1]
    columns = model.audio_compressor.last.columns[0]
    is_audio = inputs["input_ids"][0, columns] == SUBJECT.patch.audio_token_id(model.thinker)
    assert short == len(columns) == inputs["input_ids"].shape[1] - 14
    assert int(is_audio.sum()) == 15
    told, states = first["told"][0, :short], first["states"][0]
    torch.testing.assert_close(told[is_audio], states[is_audio])
    torch.testing.assert_close(told[~is_audio], (states + first["read"][0])[~is_audio])


class Watching(LogitsProcessor):  # type: ignore[misc]
    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.seen.append(input_ids)
        return scores


def test_what_is_handed_to_the_thinker_sees_the_users_prompt(model: Any, inputs: dict[str, Any]) -> None:
    hf_tokcomp.patch(model, HALF[0])
    thinking, talking = Watching(), Watching()
    text, codes, _ = speak(model, inputs, thinker_logits_processor=[thinking], talker_logits_processor=[talking])
    assert torch.equal(thinking.seen[0], inputs["input_ids"])
    assert torch.equal(thinking.seen[-1], text[:, :-1])
    assert talking.seen[-1][0, -len(codes[0]) + 1 :].tolist() == codes[0][:-1]
    with pytest.raises(ValueError, match="encoder_repetition_penalty"):
        write(model, inputs, thinker_encoder_repetition_penalty=1.5)


def test_the_voice_is_given_by_position(model: Any, inputs: dict[str, Any]) -> None:
    hf_tokcomp.patch(model, HALF[0])
    text, _, _ = speak(model, inputs)
    ids, others = inputs["input_ids"], {name: value for name, value in inputs.items() if name != "input_ids"}
    torch.manual_seed(0)
    assert torch.equal(model.generate(ids, SPEAKER, **others, **TEXT, **SPEECH)[0], text)
    with pytest.raises(ValueError, match="Nobody is not available"):
        model.generate(ids, "Nobody", **others, **TEXT, **SPEECH)


def test_outputs_as_a_dict_and_a_prompt_without_audio(model: Any, inputs: dict[str, Any]) -> None:
    ids = inputs["input_ids"][:, :3]
    plain = write(model, {"input_ids": ids})
    hf_tokcomp.patch(model, HALF[0])
    text = write(model, inputs)
    assert torch.equal(write(model, inputs, return_dict_in_generate=True).sequences, text)
    assert torch.equal(write(model, {"input_ids": ids}), plain)
    assert len(speak(model, {"input_ids": ids})) == 3


def test_a_cache_is_refused(model: Any, inputs: dict[str, Any]) -> None:
    hf_tokcomp.patch(model, HALF[0])
    cache = model.thinker(**inputs, use_cache=True)[CACHE]
    for name in (CACHE, f"thinker_{CACHE}"):
        with pytest.raises(hf_tokcomp.CacheContinuationError, match="several parts cannot go on with a cache"):
            write(model, inputs, **{name: cache})
    assert torch.equal(write(model, inputs), write(model, inputs))


@pytest.mark.parametrize("name", PATCH.refuses)
def test_images_beside_audio_are_refused_by_name(model: Any, inputs: dict[str, Any], name: str) -> None:
    hf_tokcomp.patch(model, HALF[0])
    with pytest.raises(ValueError, match=f"cannot have `{name}` beside its audio"):
        write(model, inputs, **{name: torch.zeros(1, 3, 2, 2)})


@pytest.mark.parametrize("compression", [HALF[0], {"method": "conv_resampler", "retention_ratio": 0.5}])
def test_saved_it_speaks_again_with_its_voices(
    model: Any, inputs: dict[str, Any], compression: dict[str, Any], tmp_path: Path
) -> None:
    hf_tokcomp.patch(model, compression)
    with torch.no_grad():
        for weight in model.audio_compressor.parameters():  # as if it had been trained
            weight.add_(torch.randn_like(weight), alpha=0.1)
    text, codes, _ = speak(model, inputs)
    model.save_pretrained(tmp_path / "half")
    again = type(model).from_pretrained(tmp_path / "half").eval()
    assert hf_tokcomp.active_config(again) == hf_tokcomp.active_config(model)
    assert torch.equal(speak(again, inputs)[0], text)
    assert speak(again, inputs)[1] == codes


def test_it_is_compressed_as_it_is_loaded(model: Any, inputs: dict[str, Any], tmp_path: Path) -> None:
    hf_tokcomp.patch(model, "none").save_pretrained(tmp_path)
    half = type(model).from_pretrained(tmp_path, compression=HALF[1]).eval()
    assert torch.equal(write(half, inputs), write(hf_tokcomp.patch(model, HALF[1]), inputs))
