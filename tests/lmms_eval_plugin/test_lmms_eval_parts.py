"""The parts of the lmms-eval plug-in that work without lmms-eval: arguments, options, prompts, captions, audio."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import transformers
from datasets import Audio, Dataset
from subjects import subject_of
from subjects.checkpoints import MARKS, WORDS, folder_of

import hf_tokcomp
from hf_tokcomp.checkpoints import recordings
from hf_tokcomp.inference.asking import ask, prepare
from hf_tokcomp.inference.prompts import Prompts
from hf_tokcomp.lmms_eval_plugin import TASKS, captioning, clotho, documents
from hf_tokcomp.lmms_eval_plugin.arguments import chosen_compression, refuse_unknown, whole_number
from hf_tokcomp.lmms_eval_plugin.decoding import cut, generate_options, stops
from hf_tokcomp.lmms_eval_plugin.failing import failing_the_run
from hf_tokcomp.lmms_eval_plugin.prompts import SYSTEM_TURN, Questions
from hf_tokcomp.models.registry import PATCHES, load_patch

RATE = 16_000


def test_compression_by_name_json_and_the_checkpoints_own() -> None:
    stored = hf_tokcomp.CompressionConfig(method="ltbm", retention_ratio=0.25)
    assert chosen_compression(None, None, None, stored) == stored
    assert chosen_compression(None, None, None, None) is None
    given = chosen_compression('{"method": "ltbm", "window": 4}', 0.5, "original", stored)
    assert given is not None
    assert (given.method, given.window, given.retention_ratio, given.positions) == ("ltbm", 4, 0.5, "original")


@pytest.mark.parametrize(
    ("compression", "ratio", "said"),
    [(None, 0.5, "given without a method"), ("{method", None, "not valid JSON"), ("ltbn", None, "'ltbm'")],
)
def test_impossible_compression_is_refused(compression: str | None, ratio: float | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        chosen_compression(compression, ratio, None, None)


def test_unknown_names_and_wrong_counts_are_refused() -> None:
    refuse_unknown(["dtype"], ["dtype", "device"])
    with pytest.raises(
        ValueError, match=r"Unknown model argument 'divice': did you mean 'device'\? Known: device, dtype"
    ):
        refuse_unknown(["dtype", "divice"], ["dtype", "device"])
    assert whole_number("batch_size", "4") == 4
    for wrong in ("auto", 0, "1.5"):
        with pytest.raises(ValueError, match="batch_size must be a whole number"):
            whole_number("batch_size", wrong)


@pytest.mark.parametrize(
    ("task", "sampled"),
    [
        ({}, False),
        ({"temperature": 0}, False),
        ({"temperature": 0, "do_sample": True}, False),
        ({"temperature": 0.7}, True),
        ({"temperature": 0.7, "do_sample": False}, False),
        ({"do_sample": True}, True),
    ],
)
def test_when_tokens_are_sampled(task: dict[str, Any], sampled: bool) -> None:
    options = generate_options({**task, "top_p": 0.9, "until": ["."]})
    assert options["do_sample"] is sampled
    assert options["top_p"] == (0.9 if sampled else None)
    assert options["max_new_tokens"] == 256
    assert "until" not in options


def test_a_tasks_options_win_and_unknown_ones_are_refused() -> None:
    assert generate_options({"max_new_tokens": 8, "num_beams": 3})["num_beams"] == 3
    with pytest.raises(ValueError, match="Unknown generation option 'num_return_sequences'"):
        generate_options({"num_return_sequences": 2})


def test_answers_end_at_the_first_stop() -> None:
    task = {"until": ["\n\n", "", "Q:"]}
    assert cut("one Q: two\n\nthree", stops(task)) == "one "
    assert task == {"until": ["\n\n", "", "Q:"]}, "the task's own options are left alone: later batches need them"
    assert stops({"until": "."}) == ["."]
    assert stops({"until": None}) == stops({}) == []
    with pytest.raises(ValueError, match="until"):
        stops({"until": 3})


def questions(kind: str, **options: Any) -> Questions:
    given = {"add_system_prompt": True, "simple_prompt": False} | options
    return Questions(tiny.processor(kind), hf_tokcomp.supported_models()[kind], **given)


def sound(seconds: float, rate: int = RATE) -> dict[str, Any]:
    return {"array": tiny.sound(seconds * rate / RATE), "sampling_rate": rate}


def test_a_long_recording_is_asked_about_in_pieces() -> None:
    asked = questions("qwen2_audio").ask("what is this", [sound(2.5)])  # its window is a second
    assert [len(piece) for piece in asked.samples] == [RATE, RATE, RATE // 2]
    assert asked.prompt.count("<|AUDIO|>") == 3
    assert np.array_equal(np.concatenate(asked.samples), tiny.sound(2.5))
    barely = questions("qwen2_audio").ask("what is this", [sound(1.02)])
    assert [len(piece) for piece in barely.samples] == [RATE], "a rest of less than two tokens is left out"


def test_audio_flamingo_3_takes_one_recording_of_any_length() -> None:
    asked = questions("audioflamingo3").ask("what is this", [sound(2.5)])
    assert [len(piece) for piece in asked.samples] == [int(2.5 * RATE)]
    with pytest.raises(ValueError, match="2 recordings, and this model takes one"):
        questions("audioflamingo3").ask("what is this", [sound(1), sound(1)])


EVERY = sorted(set(PATCHES) - {"qwen2_audio", "whisper"})


@pytest.mark.parametrize("simple", [False, True], ids=["in turns", "simple"])
@pytest.mark.parametrize("model_type", EVERY)
def test_every_model_is_asked_and_answers(model_type: str, simple: bool) -> None:
    folder, patch = str(folder_of(model_type)), load_patch(PATCHES[model_type])
    processor = transformers.AutoProcessor.from_pretrained(folder)
    model = getattr(transformers, patch.model_classes[0]).from_pretrained(folder, compression="stride").eval()
    asked = Questions(processor, patch, True, simple).ask("what is this", [sound(0.9)])
    user, other = MARKS.get(model_type, WORDS)
    begins = user if patch.system is None else f"{other}{patch.system} {user}"
    assert asked.prompt.startswith(begins) == (not simple and not patch.processor_calls)
    prepared = prepare(model, processor, Prompts([asked.prompt], asked.samples, [1]))
    options = generate_options({"max_new_tokens": 3, "temperature": 0, "until": ["."]})
    (answer,) = ask(model, processor, prepared, strip=False, **options, use_cache=True)
    assert answer.tokens_after == (answer.tokens_before + 1) // 2
    assert answer.tokens_written == 3
    if not patch.several_audios:
        with pytest.raises(ValueError, match="2 recordings, and this model takes one"):
            Questions(processor, patch, True, simple).ask("what is this", [sound(1), sound(1)])


def test_a_model_without_prompts_cannot_be_asked() -> None:
    processor = transformers.AutoProcessor.from_pretrained(folder_of("whisper"))
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="'whisper' transcribes what it hears"):
        Questions(processor, load_patch(PATCHES["whisper"]), True, False).ask("what is this", [sound(0.9)])


@pytest.mark.parametrize("model_type", EVERY)
def test_what_is_too_long_is_cut_or_split_as_the_prompt_allows(model_type: str) -> None:
    patch = load_patch(PATCHES[model_type])
    asking = Questions(transformers.AutoProcessor.from_pretrained(folder_of(model_type)), patch, True, False)
    asking.longest = 2.0
    lengths = [len(piece) / RATE for piece in asking.ask("what is this", [sound(5)]).samples]
    split = patch.several_audios and not patch.audio_spans_windows
    assert lengths == ([2, 2, 1] if split else [2] if patch.cuts_longer else [5])


def test_a_model_of_one_recording_without_windows_gets_the_whole(caplog: pytest.LogCaptureFixture) -> None:
    subject = subject_of("qwen3_asr")
    asking = Questions(subject.make_processor(), subject.patch, add_system_prompt=True, simple_prompt=False)
    asking.longest = 1.0
    asked = asking.ask("what is this", [sound(2.5)])
    assert [len(piece) for piece in asked.samples] == [int(2.5 * RATE)]
    assert "too long: the model was made for at most 1 s." in caplog.text


def test_other_rates_are_resampled_and_what_is_no_audio_is_refused() -> None:
    asked = questions("qwen2_audio").ask("what is this", [sound(0.5, 44_100)])
    assert len(asked.samples[0]) == RATE // 2
    for audios, said in [([], "no recording"), (None, "no recording"), ([sound(0.05)], "fewer than two audio tokens")]:
        with pytest.raises(ValueError, match=said):
            questions("qwen2_audio").ask("what is this", audios)
    with pytest.raises(TypeError, match="Cannot read audio from int"):
        questions("qwen2_audio").ask("what is this", [3])


def test_the_system_turn_can_be_left_out() -> None:
    template = "<|im_start|>system\nBe kind.<|im_end|>\n{{ messages[0].content[0].text or '' }}<|AUDIO|>"
    asked = questions("qwen2_audio", add_system_prompt=False)
    asked.processor.chat_template = template
    assert asked.ask("what", [sound(0.5)]).prompt == "<|AUDIO|>"
    assert SYSTEM_TURN.sub("", "<|im_start|>user\nhi") == "<|im_start|>user\nhi"
    simple = questions("qwen2_audio", simple_prompt=True)
    assert simple.ask("what", [sound(0.5)]).prompt == "<|audio_bos|><|AUDIO|><|audio_eos|>what"


def audio_rows(**columns: list[Any]) -> Dataset:
    """The shipped recordings under the first column's name, one per row, in order and again from the start."""
    name = next(iter(columns))
    files = [recordings()[number][0] for number in columns[name]]
    audio = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    return Dataset.from_dict({**columns, name: audio}).cast_column(name, Audio(sampling_rate=RATE))


@pytest.mark.parametrize(
    ("dataset", "captions"),
    [
        (
            {"context": [0, 1, 0], "answer": ["a dog", "rain", " a barking dog "]},
            [["a dog", "a barking dog"], ["rain"]],
        ),
        ({"audio": [0, 1], "caption": [["a dog", "a bark"], ["rain"]]}, [["a dog", "a bark"], ["rain"]]),
        ({"audio": [0], "caption_1": ["a"], "caption_2": ["b"], "file_name": ["x"]}, [["a", "b"]]),
    ],
)
def test_one_document_per_clip_with_all_its_captions(dataset: dict[str, Any], captions: list[list[str]]) -> None:
    documented = captioning.one_row_per_clip(audio_rows(**dataset))
    assert documented["captions"] == captions
    assert documented.column_names == ["audio", "captions"]
    (audio,) = documents.doc_to_audio(documented[0])
    assert audio["sampling_rate"] == RATE
    assert np.array_equal(audio["array"], hf_tokcomp.audio.load_audio(recordings()[0][0]))


def test_documents_without_captions_or_audio_are_refused() -> None:
    with pytest.raises(ValueError, match="No column has captions; there are audio, title"):
        captioning.one_row_per_clip(audio_rows(audio=[0], title=["x"]))
    with pytest.raises(ValueError, match="Row 0 has no caption"):
        captioning.one_row_per_clip(audio_rows(audio=[0], caption=[" "]))
    with pytest.raises(ValueError, match="No column is named audio or context; there are answer"):
        captioning.one_row_per_clip(Dataset.from_dict({"answer": ["x"]}))


def test_captions_are_scored_over_the_whole_set() -> None:
    pytest.importorskip("pycocoevalcap", reason="pycocoevalcap comes with lmms-eval")
    references = [["a dog barks loudly"], ["rain falls on a roof"], ["a man speaks"]]
    docs = [{"captions": captions} for captions in references]

    def score(metric: Any, answers: list[str]) -> float:
        results = [captioning.process_results(doc, [answer]) for doc, answer in zip(docs, answers, strict=True)]
        return float(metric([result[metric.__name__] for result in results]))

    exact = [captions[0] for captions in references]
    assert score(captioning.rouge_l, ["A dog barks, loudly.", *exact[1:]]) == pytest.approx(1)
    assert score(captioning.cider, exact) == pytest.approx((10 + 10 + 7.5) / 3), "the last has no four words in a row"
    assert score(captioning.cider, exact[1:] + exact[:1]) < 1
    # By hand: two of three words in common, recall 2/3 and precision 2/3, so F is 2/3 as well.
    assert score(captioning.rouge_l, [*exact[:2], "a man sings"]) == pytest.approx((1 + 1 + 2 / 3) / 3)


def test_clotho_needs_its_table_and_its_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("", str(tmp_path / "nowhere"), str(tmp_path)):
        monkeypatch.setenv(clotho.VARIABLE, wrong)
        with pytest.raises(FileNotFoundError, match="Set HF_TOKCOMP_CLOTHO to the folder with clotho_captions"):
            _ = clotho.CAPTIONS
    (tmp_path / clotho.TABLE).touch()
    (tmp_path / "evaluation").mkdir()
    assert str(tmp_path / clotho.TABLE) == clotho.CAPTIONS
    table = Dataset.from_dict({"file_name": ["a.wav", "b.wav"], "caption_1": ["x", "y"], "caption_2": ["z", "w"]})
    (tmp_path / "evaluation" / "a.wav").touch()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 recordings are missing, the first one is .*b\.wav"):
        clotho.one_row_per_recording(table)
    (tmp_path / "evaluation" / "b.wav").touch()
    assert clotho.one_row_per_recording(table)["captions"] == [["x", "z"], ["y", "w"]]


def test_errors_stay_what_they_are_in_a_program_and_end_the_command_line() -> None:
    @failing_the_run()
    def broken() -> None:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        broken()
    command_line: dict[str, Any] = {"__package__": "lmms_eval", "broken": broken}
    exec("def cli_evaluate():\n    try:\n        broken()\n    except Exception:\n        pass", command_line)
    with pytest.raises(SystemExit, match="broken"):
        command_line["cli_evaluate"]()


def test_the_folder_of_the_tasks_is_printed() -> None:
    command = [sys.executable, "-m", "hf_tokcomp.lmms_eval_plugin"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(TASKS)
    assert sorted(file.name for file in TASKS.glob("*/*.yaml")) == [
        "audiocaps.yaml",
        "audiocaps_twinkstart.yaml",
        "clotho.yaml",
    ]
