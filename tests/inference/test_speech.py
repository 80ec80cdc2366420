"""Spoken answers: `ask` with a voice says what it writes without one, the same at every call, into a whole WAV file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import spoken_answers
import torch
from hf_tokcomp.patches.qwen2_5_omni import PATCH
from hf_tokcomp.patches.qwen2_audio import PATCH as WRITES

import hf_tokcomp
from hf_tokcomp.inference.answers import answer
from hf_tokcomp.inference.asking import Answer, Prepared, ask
from hf_tokcomp.inference.collator import AudioTextCollator
from hf_tokcomp.inference.prompts import whole_answer, whole_prompt
from hf_tokcomp.inference.speech import Sound, Voice, check_speaks
from hf_tokcomp.inference.timing import Clock
from hf_tokcomp.testing import sound

HALF = {"method": "top_k", "retention_ratio": 0.5}
SHORT = Voice(max_new_tokens=4)


@pytest.fixture(scope="module")
def model() -> Any:
    if spoken_answers.PROBLEM is not None:
        pytest.skip(spoken_answers.PROBLEM)
    from subjects.qwen2_5_omni import SUBJECT

    return hf_tokcomp.patch(SUBJECT.model(), HALF)


@pytest.fixture(scope="module")
def processor() -> Any:
    from subjects.qwen2_5_omni import SUBJECT

    return SUBJECT.make_processor()


@pytest.fixture(scope="module")
def batch() -> Prepared:
    from subjects.qwen2_5_omni import SUBJECT

    return Prepared(SUBJECT.inputs([[0.9, 0.3], [0.4]]), [2, 1])


def waves(answers: list[Answer]) -> list[Any]:
    return [answer.sound.samples for answer in answers if answer.sound is not None]


@pytest.mark.parametrize("compression", ["none", HALF])
def test_the_answers_are_those_without_speech(model: Any, processor: Any, batch: Prepared, compression: Any) -> None:
    with hf_tokcomp.compressed(model, compression):
        written = ask(model, processor, batch, 5)
        spoken = ask(model, processor, batch, 5, voice=SHORT)
    assert all(answer.sound is None for answer in written)
    assert [dataclasses.replace(answer, sound=None) for answer in spoken] == written
    assert [answer.sound.rate for answer in spoken if answer.sound] == [24_000, 24_000]
    assert [len(samples) for samples in waves(spoken)] == [32, 32]  # eight samples for each of four codes
    assert not np.array_equal(*waves(spoken))


def test_rows_are_answered_aloud(model: Any, processor: Any) -> None:
    rows = [{"audio": {"array": sound(seconds, 0), "sampling_rate": 16_000}} for seconds in (0.8, 0.3)]
    collator = AudioTextCollator(processor, "please <|audio_bos|> <|AUDIO|> <|audio_eos|> tell me")
    given = answer(model, collator, rows, batch_size=1, max_new_tokens=4, voice=SHORT)
    assert [len(samples) for samples in waves(given)] == [32, 32]
    assert [each.text for each in given] == [each.text for each in answer(model, collator, rows, max_new_tokens=4)]


def test_options_of_the_text_are_for_the_text(model: Any, processor: Any, batch: Prepared) -> None:
    options = {"repetition_penalty": 3.0, "min_new_tokens": 5, "eos_token_id": 10}
    written = ask(model, processor, batch, 5, **options)
    assert [answer.text for answer in ask(model, processor, batch, 5, voice=SHORT, **options)] == [
        answer.text for answer in written
    ]
    assert [answer.text for answer in written] != [answer.text for answer in ask(model, processor, batch, 5)]


def test_a_composite_with_an_end_of_its_own_ends_as_its_part(model: Any, processor: Any, batch: Prepared) -> None:
    """As Qwen3-Omni's, whose `generate` has an end for the text as its default."""
    own = type(model).generate

    def generate(self: Any, *args: Any, thinker_eos_token_id: int = 99, **options: Any) -> Any:
        return own(self, *args, thinker_eos_token_id=thinker_eos_token_id, **options)

    second = model.thinker.generate(**batch.inputs, max_new_tokens=2, do_sample=False)[0, -1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "generate", generate)
        patch.setattr(model.thinker.generation_config, "eos_token_id", int(second))
        written, spoken = ask(model, processor, batch, 5), ask(model, processor, batch, 5, voice=SHORT)
    assert written[0].finished
    assert [(each.text, each.finished) for each in spoken] == [(each.text, each.finished) for each in written]


def test_a_talker_that_would_end_at_once_says_something(model: Any, batch: Prepared) -> None:
    """Upstream's vocoder fails on nothing."""
    text, greedy = {"max_new_tokens": 4, "do_sample": False}, {"talker_do_sample": False}
    codes: list[int] = []
    handle = model.token2wav.register_forward_pre_hook(lambda _, args: codes.append(int(args[0][0, 0])))
    try:
        PATCH.speak(model, batch.inputs, text, {**SHORT.keywords(), **greedy})
    finally:
        handle.remove()
    ends = {**greedy, "talker_eos_token_id": codes}
    assert [len(wave) > 0 for wave in PATCH.speak(model, batch.inputs, text, {**SHORT.keywords(), **ends})[1]] == [
        True
    ] * 2
    with pytest.raises(RuntimeError):
        PATCH.speak(model, batch.inputs, text, {"talker_max_new_tokens": 4, **ends})


def test_it_says_the_same_every_time_and_draws_from_its_seed(model: Any, processor: Any, batch: Prepared) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    once = waves(ask(model, processor, batch, 5, voice=SHORT))
    assert torch.equal(torch.rand(3), expected), "the random numbers of the caller are left alone"
    again = waves(ask(model, processor, batch, 5, voice=SHORT))
    other = waves(ask(model, processor, batch, 5, voice=Voice(max_new_tokens=4, seed=1)))
    assert all(map(np.array_equal, once, again))
    assert not any(map(np.array_equal, once, other))


def test_an_answer_of_one_token_is_not_spoken(model: Any, processor: Any, batch: Prepared) -> None:
    """Upstream's talker fails on it."""
    written = ask(model, processor, batch, 1)
    spoken = ask(model, processor, batch, 1, voice=SHORT)
    assert [answer.text for answer in spoken] == [answer.text for answer in written]
    assert [len(samples) for samples in waves(spoken)] == [0, 0]
    assert spoken[0].sound is not None
    assert spoken[0].sound.seconds == 0


def test_other_errors_are_not_silence(model: Any, processor: Any, batch: Prepared) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("out of memory")

    handle = model.talker.register_forward_pre_hook(fails)
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            ask(model, processor, batch, 3, voice=SHORT)
    finally:
        handle.remove()


def test_speech_that_is_no_number_is_an_error(model: Any, processor: Any, batch: Prepared) -> None:
    handle = model.token2wav.register_forward_hook(lambda _module, _args, wave: wave * float("nan"))
    try:
        with pytest.raises(RuntimeError, match="NaN or infinite"):
            ask(model, processor, batch, 3, voice=SHORT)
    finally:
        handle.remove()


def test_speakers(model: Any, processor: Any, batch: Prepared) -> None:
    from subjects.qwen2_5_omni import SPEAKER

    voice = model.speaker_map[SPEAKER]
    model.speaker_map["Ethan"] = {**voice, "ref_mel": -voice["ref_mel"], "cond": -voice["cond"]}
    try:
        usual = waves(ask(model, processor, batch, 4, voice=SHORT))
        named = waves(ask(model, processor, batch, 4, voice=Voice(SPEAKER, 4)))
        other = waves(ask(model, processor, batch, 4, voice=Voice("ethan", 4)))
        assert all(map(np.array_equal, usual, named))
        assert not any(map(np.array_equal, usual, other))
        with pytest.raises(ValueError, match="no speaker 'Ethen': did you mean 'Ethan'"):
            ask(model, processor, batch, 4, voice=Voice("Ethen", 4))
    finally:
        del model.speaker_map["Ethan"]


def test_speech_is_timed_apart(model: Any, processor: Any, batch: Prepared) -> None:
    clock = Clock()
    ask(model, processor, batch, 4, voice=SHORT, clock=clock)
    spoken, written = clock.seconds(spoken=True), clock.seconds()
    assert spoken.speech > 0
    assert written.speech == 0
    assert spoken.total == pytest.approx(written.total)
    assert spoken.to_dict().keys() == {"features", "prefill", "decode", "speech", "total"}
    assert written.to_dict().keys() == {"features", "prefill", "decode", "total"}


def test_a_model_that_writes_does_not_speak() -> None:
    config = SimpleNamespace(model_type="qwen2_audio")
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match=r"type 'qwen2_audio', which writes.*qwen2_5_omni \("):
        check_speaks(config, "some/model")
    assert not WRITES.speaks(config)
    silent = SimpleNamespace(model_type="qwen2_5_omni", enable_audio_output=False)
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="voice switched off"):
        check_speaks(silent, "some/model")
    check_speaks(SimpleNamespace(model_type="qwen2_5_omni", enable_audio_output=True), "some/model")


def test_a_wav_file(tmp_path: Path) -> None:
    samples = np.array([0, 0.5, -0.5, 2.0, -2.0], dtype=np.float32)
    file = Sound(samples, 24_000).write(tmp_path / "said.wav")
    read, rate = soundfile.read(file, dtype="float32")
    assert rate == 24_000
    assert soundfile.info(file).subtype == "PCM_16"
    np.testing.assert_allclose(read, samples.clip(-1, 1), atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["said.wav"]
    assert len(soundfile.read(Sound(samples[:0], 24_000).write(tmp_path / "nothing.wav"))[0]) == 0
    before = file.read_bytes()
    with pytest.raises(soundfile.LibsndfileError):
        Sound(samples, 0).write(file)
    assert file.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_the_prompt_has_the_system_prompt_that_speech_needs() -> None:
    def template(conversation: list[dict[str, Any]], tokenize: bool, add_generation_prompt: bool = False) -> str:
        parts = [(turn["role"], part) for turn in conversation for part in turn["content"]]
        said = [f"{role}: {part.get('text', '<|AUDIO|>')}\n" for role, part in parts]
        return "".join(said) + "assistant: " * add_generation_prompt

    talking: Any = SimpleNamespace(
        audio_token="<|AUDIO|>",
        chat_template="x",
        apply_chat_template=template,
        tokenizer=SimpleNamespace(eos_token=""),
    )
    assert PATCH.system is not None
    wanted = f"system: {PATCH.system}\nuser: <|AUDIO|>\nuser: Translate.\n"
    assert whole_prompt(talking, PATCH, "Translate.") == wanted + "assistant: "
    assert whole_answer(talking, PATCH, "Translate.", "Yes.") == "Yes."
    assert whole_prompt(talking, WRITES, "Translate.") == "user: <|AUDIO|>\nuser: Translate.\nassistant: "
