"""The shipped model: it loads with plain transformers, reads the shipped recordings, and its recipe is what it says."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import torch
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.checkpoints.test_sets import items, prompts, sources
from recipes.small_model import attended, evaluate, test_set, voices
from recipes.small_model.augment import NoiseBank, change_speed, crop, mask_features
from recipes.small_model.auxiliary import AuxiliaryHeads
from recipes.small_model.data import Example, ExampleMaker
from recipes.small_model.features import LogMel
from recipes.small_model.model import build_model, build_processor, carry_over, encode, token_counts

MEGABYTE = 1_000_000
needs_data = pytest.mark.skipif(
    not os.environ.get("HF_TOKCOMP_DATA"), reason="HF_TOKCOMP_DATA does not name a folder with digits/ and sounds/"
)


@pytest.fixture(scope="module")
def small() -> tuple[Any, Any]:
    return evaluate.load(SMALL_MODEL)


@pytest.fixture(scope="module")
def spoken() -> list[tuple[sources.Audio, str]]:
    return [(sources.read_audio(path), text) for path, text in recordings()]


@pytest.fixture
def data() -> Path:
    return sources.data_folder()


def test_listing_the_recordings_needs_no_torch() -> None:
    # A fresh interpreter that loads this one file: nothing else of the package may come along.
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('checkpoints', {str(SMALL_MODEL.parent / '__init__.py')!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "assert module.recordings() and module.SMALL_MODEL.is_dir()\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in SMALL_MODEL.rglob("*") if file.is_file()) <= 12 * MEGABYTE
    assert sum(path.stat().st_size for path, _ in recordings()) < 0.3 * MEGABYTE


def test_there_are_recordings_of_digits(spoken: list[tuple[sources.Audio, str]]) -> None:
    assert len(spoken) >= 2
    for audio, text in spoken:
        assert 3 <= len(audio) / sources.SAMPLE_RATE <= 6
        assert 4 <= len(text.split()) <= 6
        assert set(text.split()) <= set(sources.DIGITS)


def test_plain_transformers_loads_it() -> None:
    processor: Any = AutoProcessor.from_pretrained(SMALL_MODEL)
    model = Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL)
    assert type(processor).__name__ == "Qwen2AudioProcessor"
    assert model.dtype == torch.float32
    assert model.config.audio_config.max_source_positions == 500
    assert processor.feature_extractor.nb_max_frames == 1000
    tokenizer = processor.tokenizer
    assert tokenizer.padding_side == "left"
    assert len(tokenizer) == model.config.text_config.vocab_size
    end, pad = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert model.generation_config.eos_token_id == [end, pad]
    assert (
        model.generation_config.pad_token_id == model.config.text_config.pad_token_id == tokenizer.pad_token_id == pad
    )
    assert not model.generation_config.do_sample
    assert model.config.audio_token_id == processor.audio_token_id == tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    assert all(
        id_ != tokenizer.unk_token_id for id_ in tokenizer.convert_tokens_to_ids(list(prompts.SPECIAL_TOKENS[:-1]))
    )


def asked(spoken: list[tuple[sources.Audio, str]]) -> list[items.Item]:
    return [items.Item(audio, prompts.DIGITS_PROMPT, text, ()) for audio, text in spoken]


def test_it_reads_every_recording_alone(small: tuple[Any, Any], spoken: list[tuple[sources.Audio, str]]) -> None:
    for item in asked(spoken):
        assert evaluate.answers(*small, [item]) == [item.text]


def test_it_reads_all_recordings_in_one_batch(small: tuple[Any, Any], spoken: list[tuple[sources.Audio, str]]) -> None:
    audios = [audio for audio, _ in spoken]
    processor = small[1]
    inputs = processor(text=[prompts.chat("")] * len(audios), audio=audios, return_tensors="pt", padding=True)
    assert (inputs["attention_mask"][:, 0] == 0).any(), "the recordings differ in length, so some row must be padded"
    assert (inputs["attention_mask"][:, -1] == 1).all()
    assert evaluate.answers(*small, asked(spoken)) == [text for _, text in spoken]


def test_generate_needs_no_arguments(small: tuple[Any, Any], spoken: list[tuple[sources.Audio, str]]) -> None:
    model, processor = small
    audio, text = spoken[0]
    messages = [
        {
            "role": "user",
            "content": [{"type": "audio", "audio": audio}, {"type": "text", "text": "Transcribe the digits."}],
        }
    ]
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    answer = model.generate(**inputs)[:, inputs["input_ids"].shape[1] :]
    assert processor.batch_decode(answer, skip_special_tokens=True) == [text]
    assert answer[0, -1] == processor.tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_chat_template(small: tuple[Any, Any]) -> None:
    def render(messages: list[dict[str, Any]], **options: bool) -> str:
        return str(small[1].apply_chat_template(messages, tokenize=False, **options))

    audio, text = {"type": "audio", "path": "a.wav"}, {"type": "text", "text": "Transcribe the digits."}
    asked = "<|im_start|>user\n<|audio_bos|><|AUDIO|><|audio_eos|>Transcribe the digits.<|im_end|>\n"
    assert render([{"role": "user", "content": [audio, text]}]) == asked
    answering = render([{"role": "user", "content": [audio, text]}], add_generation_prompt=True)
    assert answering == asked + "<|im_start|>assistant\n" == prompts.chat("Transcribe the digits.")
    several = render([{"role": "user", "content": [text, audio, audio]}])
    assert several == "<|im_start|>user\nTranscribe the digits." + 2 * prompts.AUDIO + "<|im_end|>\n"
    conversation = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": [audio, text]},
        {"role": "assistant", "content": [{"type": "text", "text": "seven three one"}]},
        {"role": "user", "content": "What do you hear?"},
    ]
    assert render(conversation) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        + asked
        + "<|im_start|>assistant\nseven three one<|im_end|>\n<|im_start|>user\nWhat do you hear?<|im_end|>\n"
    )


def test_tokenizer_keeps_words_and_marks_unknown_ones(small: tuple[Any, Any]) -> None:
    tokenizer = small[1].tokenizer
    ids = tokenizer("Seven  three one<|im_end|>\n")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["seven", "three", "one", "<|im_end|>", "\n"]
    assert tokenizer.decode(ids[:-1], skip_special_tokens=True) == "seven three one"
    assert tokenizer("zebra")["input_ids"] == [tokenizer.unk_token_id]
    answers = [*sources.DIGITS, *prompts.NAMES.values(), prompts.caption(sources.SOUNDS[:3])]
    assert [tokenizer.decode(tokenizer(answer)["input_ids"]) for answer in answers] == answers
    questions = [prompts.choice(question, list(prompts.NAMES.values())[:4]) for question in prompts.QUESTIONS.values()]
    for text in (prompts.DIGITS_PROMPT, prompts.CAPTION_PROMPT, *questions, prompts.SYSTEM):
        assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]


def test_recipe_builds_what_is_shipped(small: tuple[Any, Any]) -> None:
    processor = build_processor()
    model = build_model(processor.tokenizer)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in small[0].state_dict().items()}
    assert processor.tokenizer.get_vocab() == small[1].tokenizer.get_vocab()
    assert processor.chat_template == small[1].chat_template


def test_weights_go_by_word_into_another_vocabulary(small: tuple[Any, Any]) -> None:
    known = small[1].tokenizer.get_vocab()
    words = {word if word != "seven" else "zebra": len(known) - 1 - place for word, place in known.items()}
    model = build_model(build_processor().tokenizer)
    before = model.get_input_embeddings().weight.clone()
    carry_over(model, words, SMALL_MODEL)
    for weight, theirs in (
        (model.get_input_embeddings().weight, small[0].get_input_embeddings().weight),
        (model.lm_head.weight, small[0].lm_head.weight),
    ):
        assert all(torch.equal(weight[place], theirs[known[word]]) for word, place in words.items() if word in known)
    new = words["zebra"]
    assert torch.equal(model.get_input_embeddings().weight[new], before[new]), "a new word keeps its own"
    assert torch.equal(model.model.audio_tower.conv1.weight, small[0].model.audio_tower.conv1.weight)


def test_losses_on_options_are_where_the_options_are() -> None:
    """A clip of rain, then a dog; the options are dog, fire and rain, and the question is what comes first."""
    tokenizer = build_processor().tokenizer
    heads = AuxiliaryHeads(4, tokenizer)
    sounds = tuple((sources.SOUNDS.index(name), 0, 1) for name in ("rain", "dog bark"))
    request = prompts.chat(prompts.choice(prompts.QUESTIONS["first"], ["dog", "fire", "rain"]))
    example = Example((np.zeros(9, np.float32),), request, "rain", ((),), sounds)
    caption = Example((np.zeros(9, np.float32),), prompts.chat(prompts.CAPTION_PROMPT), "rain falls", ((),), sounds[:1])
    ids = torch.tensor(tokenizer(request)["input_ids"] + tokenizer("rain<|im_end|>")["input_ids"])[None]
    asked = torch.arange(ids.shape[1])[None] < ids.shape[1] - 2
    hidden = torch.zeros(1, ids.shape[1], 4, requires_grad=True)
    attention = torch.full((1, 2, ids.shape[1], ids.shape[1]), 0.25, requires_grad=True)
    loss = heads.of_options(hidden, attention, ids, asked, [example])
    torch.autograd.backward(loss)
    words = tokenizer.convert_ids_to_tokens(ids[0].tolist())
    options = [place for place, word in enumerate(words[:-2]) if word in ("dog", "fire", "rain")]
    assert len(options) == 3
    assert hidden.grad is not None
    assert hidden.grad.abs().sum(-1)[0].nonzero().flatten().tolist() == options
    assert attention.grad is not None
    assert attention.grad.nonzero().tolist() == [[0, 0, len(words) - 3, options[2]]]
    with torch.no_grad():
        logits = heads.options(torch.zeros(4)).expand(3, 2)  # of dog, fire, rain: in the clip, first in it
        wanted = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
        flags = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        torch.testing.assert_close(loss.detach(), flags - np.log(0.25))
        assert heads.of_options(hidden, attention, ids, torch.zeros_like(asked), [caption]) == 0


def test_the_class_of_a_token_is_that_of_its_time() -> None:
    sounds = ((3, 0, 1300), (7, 1920, 2561))  # tokens 0 and 1 lie in the first, token 3 in the second
    audio = np.zeros(3200, np.float32)
    spoken, heard = Example((audio, audio), "", "", ((1,), (2,))), Example((audio,), "", "", ((),), sounds)
    classes = AuxiliaryHeads._classes(torch.Size([3, 5]), [spoken, heard])
    assert classes.tolist() == [[-1] * 5, [-1] * 5, [3, 3, -1, 7, -1]]


def test_training_features_and_states_equal_upstream(
    small: tuple[Any, Any], spoken: list[tuple[sources.Audio, str]]
) -> None:
    model, processor = small
    audios = [audio for audio, _ in spoken]
    inputs = processor(text=[prompts.chat("")] * len(audios), audio=audios, return_tensors="pt", padding=True)
    features, frames = LogMel(processor.feature_extractor)(audios)
    assert frames.tolist() == inputs["feature_attention_mask"].sum(-1).tolist()
    torch.testing.assert_close(features, inputs["input_features"][..., : features.shape[-1]])
    assert (inputs["input_ids"] == model.config.audio_token_id).sum(-1).tolist() == token_counts(frames).tolist()
    # Upstream's own projected tokens, all audios in a row, from features padded to the window of 10 s.
    seen: list[torch.Tensor] = []
    handle = model.model.multi_modal_projector.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.inference_mode():
        model(**inputs)
        handle.remove()
        ours = model.model.multi_modal_projector(encode(model, features, frames))
    for row, (count, upstream) in enumerate(zip(token_counts(frames).tolist(), seen[0], strict=True)):
        torch.testing.assert_close(ours[row, :count], upstream[:count], rtol=1e-4, atol=1e-4)


@needs_data
def test_word_error_rate_on_unseen_recordings(small: tuple[Any, Any], data: Path) -> None:
    strings = list(items.digit_strings(data, "test", count=60, seed=7))
    assert jiwer.wer([item.text for item in strings], evaluate.answers(*small, strings)) <= 0.08


@needs_data
@pytest.mark.parametrize(("skill", "least"), [("sound_captions", 0.7), ("sound_choices", 0.85)])
def test_clips_of_unseen_recordings(small: tuple[Any, Any], data: Path, skill: str, least: float) -> None:
    measured = evaluate.MEASURES[skill](*small, data, 100, seed=7)
    assert measured["items"] == 100
    assert measured["accuracy"] >= least, measured


@needs_data
def test_test_set_writes_a_manifest(data: Path, tmp_path: Path) -> None:
    strings = list(items.digit_strings(data, "test", 3, seed=0, digits=(2, 2)))
    assert test_set.write(tmp_path, iter(strings), "digits") == 3
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    for line, item in zip(lines, strings, strict=True):
        assert (line["text"], line["recordings"]) == (item.text, list(item.recordings))
        assert line["prompt"] == "Transcribe the digits."
        assert np.abs(sources.read_audio(tmp_path / line["audio"]) - item.audio).max() < 1e-3


@needs_data
def test_examples_are_deterministic_fit_the_window_and_leave_a_speaker_out(data: Path) -> None:
    def drawn(seed: int) -> Iterator[Any]:
        maker = ExampleMaker(data, seed, leave_out="lucas", synthetic=0)
        assert sorted(maker.by_speaker) == ["george", "jackson", "nicolas", "yweweler"]
        return (maker.draw() for _ in range(60))

    for example, again in zip(drawn(5), drawn(5), strict=True):
        assert (example.request, example.answer) == (again.request, again.answer)
        assert all(np.array_equal(a, b) for a, b in zip(example.audios, again.audios, strict=True))
        assert example.request.count("<|AUDIO|>") == len(example.audios)
        for audio in example.audios:
            assert audio.dtype == np.float32
            assert np.isfinite(audio).all()
            assert len(audio) < 10 * sources.SAMPLE_RATE
        heard = [sources.SOUNDS[number] for number, _, _ in example.sounds]
        if not heard:
            assert example.answer == " ".join(sources.DIGITS[d] for digits in example.digits for d in digits)
        elif "Which sound" not in example.request or "sounds" in example.request:
            assert example.answer == prompts.caption(heard)
        else:
            (answer,) = (sound for sound, name in prompts.NAMES.items() if name == example.answer)
            assert f") {example.answer}" in example.request
            assert (answer in heard) == ("not there" not in example.request)
            assert answer == heard[0] or "first" not in example.request
        ends = [0, *(end for _, _, end in example.sounds)]
        for end, (_, start, _) in zip(ends, example.sounds, strict=False):
            assert start >= end
        assert ends[-1] <= len(example.audios[0])


def test_augmentations_keep_what_they_must() -> None:
    rng = np.random.default_rng(0)
    tone = np.sin(np.arange(16_000) * 2 * np.pi * 100 / 16_000).astype(np.float32)
    faster = change_speed(tone, 1.25)
    assert len(faster) == 12_800
    assert np.argmax(np.abs(np.fft.rfft(faster))) * 16_000 / len(faster) == pytest.approx(125, abs=1.5)
    noisy = NoiseBank(rng, seconds=2).add(rng, tone, 20, 20)
    assert 10 * np.log10(np.mean(tone**2) / np.mean((noisy - tone) ** 2)) == pytest.approx(20, abs=1)
    mostly_silent = np.concatenate(
        [np.zeros(16_000, dtype=np.float32), tone[:3000], np.zeros(16_000, dtype=np.float32)]
    )
    assert all(np.abs(crop(rng, mostly_silent, 0.5)).max() > 0.9 for _ in range(20))
    features = torch.rand(80, 200)
    before = features.clone()
    for _ in range(10):
        mask_features(rng, features, frames=150, longest=10, widest=5)
    assert not torch.equal(features, before)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_synthetic_voices_are_deterministic() -> None:
    first, again = (voices.synthetic_strings(np.random.default_rng(1), 3) for _ in range(2))
    assert [r.text for r in first] == [r.text for r in again]
    assert all(np.array_equal(a.audio, b.audio) for a, b in zip(first, again, strict=True))
    assert all(0.3 < len(r.audio) / sources.SAMPLE_RATE <= 8 for r in first)


def test_missing_espeak_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="espeak-ng"):
        voices.speak("one")


def test_speech_is_told_from_pauses() -> None:
    """A loud token, a pause, a token at a fiftieth of the loudness (34 dB less), and one that the sound only begins."""
    tone = np.sin(np.arange(640) / 5).astype(np.float32)
    audio = np.concatenate([tone, np.zeros(640, np.float32), tone / 50, tone[:400]])
    assert attended.speech_tokens(audio, 4).tolist() == [True, False, False, True]
