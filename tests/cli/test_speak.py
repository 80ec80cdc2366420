"""`hf-tokcomp run --speak`: one file, a folder of several, what is refused and when, and what JSON says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import spoken_answers
from subjects.checkpoints import folder_of

from hf_tokcomp.cli import main
from hf_tokcomp.cli.speech import spoken_files
from hf_tokcomp.inference.reader import Reader

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")


SAMPLES = {"tiny-qwen2_5_omni": 32, "tiny-qwen3_omni_moe": 18}
"""Of four tokens of speech."""


@pytest.fixture(scope="module", params=["qwen2_5_omni", "qwen3_omni_moe"])
def checkpoint(request: pytest.FixtureRequest) -> Path:
    return folder_of(request.param)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    spoken_answers.recordings(tmp_path)
    return tmp_path


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model may be loaded."""

    def loaded(*_: Any) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(Reader, "load_model", loaded)


def run(model: Path, *arguments: Any) -> int:
    options = ("--model", model, "--compression", "top_k", *spoken_answers.TEXT)
    short = spoken_answers.SPEECH if "--speak" in arguments else ()
    return main(["run", *map(str, (*arguments, *options, *short))])


def test_one_recording_one_file(checkpoint: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(checkpoint, "clip1.wav", "--json") == 0
    silent = json.loads(capsys.readouterr().out)
    assert run(checkpoint, "clip1.wav", "--json", "--speak", "said.wav", "--speaker", "Chelsie") == 0
    spoken = json.loads(capsys.readouterr().out)
    assert spoken["voice"] == {"speaker": "Chelsie", "max_new_tokens": 4, "seed": 0}
    (result,) = spoken["results"]
    assert result["text"] == silent["results"][0]["text"]
    assert result["tokens_after"] == silent["results"][0]["tokens_after"]
    assert result["speech"] == {"path": "said.wav", "seconds": 0.001, "sampling_rate": 24_000}
    assert "speech" in result["seconds"]
    assert "speech" not in silent["results"][0]
    assert "voice" not in silent
    samples, rate = soundfile.read("said.wav")
    assert (len(samples), rate) == (SAMPLES[checkpoint.name], 24_000)


def test_a_talker_that_goes_by_turns_needs_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompt = "please <|audio_start|> <|audio_pad|> <|audio_end|> tell me"
    assert run(folder_of("qwen3_omni_moe"), "clip1.wav", "--prompt", prompt, "--speak", "said.wav") == 1
    assert "turns of a user, which begin with <|im_start|>user" in capsys.readouterr().err
    assert not (here / "said.wav").exists()


def test_several_recordings_a_folder(checkpoint: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "deep").mkdir()
    (here / "deep" / "clip1.wav").write_bytes((here / "clip1.wav").read_bytes())
    assert run(checkpoint, "clip0.wav", "clip1.wav", "deep/clip1.wav", "--speak", "said") == 0
    printed = capsys.readouterr().out
    assert sorted(path.name for path in (here / "said").iterdir()) == ["clip0.wav", "clip1-2.wav", "clip1.wav"]
    assert "  speech   said/clip1-2.wav  (0.0 s, 24000 Hz)" in printed
    assert (here / "said" / "clip1.wav").read_bytes() == (here / "said" / "clip1-2.wav").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("clip0.wav", "clip1.wav", "--speak", "said.wav"), "there are 2 recordings, and this is one file"),
        (("clip0.wav", "--speak", "no/said.wav"), "There is no folder"),
        (("clip0.wav", "--speak", "clip0.wav"), "clip0.wav is one of the recordings"),
        (("clip0.wav", "clip1.wav", "--speak", "."), "clip0.wav is one of the recordings"),
        (("clip0.wav", "--speak", "said.mp3"), "said.mp3 is a file that does not end in .wav"),
        (("clip0.wav", "--speak", "folder.wav"), "folder.wav is a folder"),
        (("clip0.wav", "--speaker", "Chelsie"), "add --speak FILE.wav"),
        (("clip0.wav", "--max-speech-tokens", "3"), "add --speak FILE.wav"),
    ],
)
@pytest.mark.usefixtures("never")
def test_refused_before_a_model_is_loaded(
    checkpoint: Path, here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    (here / "folder.wav").mkdir()
    (here / "said.mp3").write_bytes(b"mine")
    before = sorted(here.rglob("*"))
    assert run(checkpoint, *arguments) == 1
    assert said in capsys.readouterr().err
    assert sorted(here.rglob("*")) == before


@pytest.mark.usefixtures("never")
def test_a_model_that_only_writes_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--speak", "said"]) == 1
    assert "writes and does not speak. Models that speak: qwen2_5_omni" in capsys.readouterr().err
    assert not (here / "said").exists()


def test_an_unknown_speaker_is_refused(checkpoint: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(checkpoint, "clip0.wav", "--speak", "said.wav", "--speaker", "Nobody") == 1
    said = capsys.readouterr().err
    assert "There is no speaker 'Nobody'. There are " in said
    assert "chelsie" in said.lower()
    assert not (here / "said.wav").exists()


def test_names_in_a_folder() -> None:
    names = ["a/b.wav", "B.flac", "https://x.org/c%20d.mp3?key=1", "data:audio/wav;base64,AAA...", "row 3", "..."]
    found = [file.name for file in spoken_files(Path("out"), names)]
    assert found == ["b.wav", "B-2.wav", "c_20d.wav", "wav_base64_AAA.wav", "row_3.wav", "answer.wav"]
    assert spoken_files(Path("out.WAV"), ["a"]) == [Path("out.WAV")]


def test_the_list_of_models_names_those_that_speak(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "Models that speak (`run --speak`, `eval s2st`): qwen2_5_omni" in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    rates = {row["model_type"]: row["speech_rate"] for row in json.loads(capsys.readouterr().out)}
    assert rates["qwen2_5_omni"] == 24_000
    assert rates["qwen2_5_omni_thinker"] is None
