"""Tasks for recordings of one's own: what is asked, what the tables are called, and one list of kinds everywhere."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import compared
import pytest
import transformers
from places import ROOT
from result_folders import results_in
from training_files import jsonl

from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.cli import main
from hf_tokcomp.evaluation.evaluation import ask_all
from hf_tokcomp.evaluation.items import Dataset, data_name
from hf_tokcomp.evaluation.kinds import ALIASES, KINDS, kind_named
from hf_tokcomp.evaluation.task import Task
from hf_tokcomp.evaluation.tasks import get_task, tasks
from hf_tokcomp.hub.prompt_file import StoredPrompt
from hf_tokcomp.training.arguments import FinetuneArguments

pytestmark = pytest.mark.usefixtures("one_thread")
AUDIO = [str(path) for path, _ in recordings()]
LISTED = "Which sound is there?\n(A) dog\n(B) rain"


@pytest.fixture(scope="module")
def processor() -> Any:
    return transformers.AutoProcessor.from_pretrained(SMALL_MODEL)


def asked(processor: Any, name: str, file: Path, prompt: str | None = None, **more: Any) -> list[str]:
    """What a task asks about the rows of a table."""
    prompts = {} if prompt is None else {name: prompt}
    (found,) = ask_all(processor, [get_task(name)], {name: Dataset(str(file))}, prompts, **more)
    return found.prompts


def test_the_readmes_command_gives_what_compare_gives(
    strings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^hf-tokcomp (eval asr .*)$", readme, re.MULTILINE)
    (tmp_path / "my_recordings").mkdir()
    shutil.copy(strings, tmp_path / "my_recordings" / "test.jsonl")
    monkeypatch.chdir(tmp_path)
    given = shlex.split(line)
    assert main([*given, "--resamples", "100"]) == 0
    printed = capsys.readouterr().out
    assert "**my_recordings**: word error rate" in printed
    assert "LibriSpeech" not in printed
    measured = results_in(tmp_path / given[given.index("--output") + 1])
    methods = sorted({each["method"] for each in measured["scores"]} - {"none"})
    named = [word for method in methods for word in ("--compression", method)]
    cells = [*named, "--retention-ratio", "1,1/2,1/4", "--positions", "contiguous,original"]
    assert main(["compare", "--dataset", "my_recordings/test.jsonl", "--json", *cells]) == 0
    report = json.loads(capsys.readouterr().out)
    theirs = {key: cell["wer"] for key, cell in compared.cells(report).items()}
    ours = {(s["method"], s["ratio"], s["positions"]): s["value"] for s in measured["scores"]}
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert max(ours.values()) > min(ours.values()) == 0
    assert {each["prompt"] for each in report["recordings"]} == {measured["tasks"]["asr"]["prompt"]}
    assert measured["tasks"]["asr"]["max_new_tokens"] == 16, "the model's own limit, as in compare"


def test_every_kind_goes_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"audio": path, "text": "rain", "question": "What is it?", "choices": ["dog", "rain"]} for path in AUDIO[:2]
    ]
    file = jsonl(tmp_path / "sounds.jsonl", *rows)
    out = tmp_path / "out"
    assert main(["eval", *KINDS, "--dataset", str(file), "--resamples", "100", "--output", str(out)]) == 0
    assert {score["task"] for score in results_in(out)["scores"]} == set(KINDS)
    assert capsys.readouterr().out.count("**sounds**") == sum(len(get_task(kind).metrics) for kind in KINDS)


def test_what_rows_are_asked(processor: Any, tmp_path: Path) -> None:
    stored = StoredPrompt("Transcribe the digits.", "asr")
    plain = jsonl(tmp_path / "plain.jsonl", {"audio": AUDIO[0], "text": "one"})
    mixed = jsonl(
        tmp_path / "mixed.jsonl",
        {"audio": AUDIO[0], "text": "one", "prompt": "Mine."},
        {"audio": AUDIO[1], "text": "two", "prompt": None},
    )
    assert asked(processor, "asr", plain) == ["Transcribe the input speech."]
    assert asked(processor, "asr", mixed, stored=stored) == ["Mine.", stored.text]
    assert asked(processor, "asr", mixed, "Given.", stored=stored) == ["Mine.", "Given."]
    assert asked(processor, "captioning", plain, stored=stored) == ["Please describe the audio in detail."]
    with pytest.raises(ValueError, match=r"no question.*--columns question:NAME"):
        asked(processor, "question_answering", plain, stored=stored)
    assert asked(processor, "question_answering", plain, "What?") == ["What?"]
    one = StoredPrompt("What?", "qa")
    assert asked(processor, "question_answering", mixed, stored=one) == ["Mine.", "What?"]


def test_options_are_written_once(processor: Any, tmp_path: Path) -> None:
    row = {"audio": AUDIO[0], "text": "rain", "choices": ["dog", "rain"]}
    file = jsonl(tmp_path / "t.jsonl", row | {"question": "Which?"}, row | {"question": LISTED})
    first, second = asked(processor, "multiple_choice", file)
    assert first == "Which?\nChoose the correct option:\n(A) dog\n(B) rain"
    assert second == LISTED
    assert asked(processor, "multiple_choice", file, "{question} {options}")[1] == f"{LISTED} (A) dog\n(B) rain"


def test_there_is_one_list_of_kinds(caplog: pytest.LogCaptureFixture) -> None:
    assert {task.kind for task in tasks().values()} == set(KINDS)
    assert {name for name, task in tasks().items() if task.own} == {*KINDS, "s2st"}, "spoken, one is a translation"
    assert not caplog.records
    for old, new in ALIASES.items():
        assert kind_named(old) == new
        assert get_task(old).name == new
        assert FinetuneArguments(task=old).task == new  # type: ignore[arg-type]
        assert Task("t", "T", old, ("wer",), {"": ""}).kind == new  # type: ignore[arg-type]
    assert [record.getMessage() for record in caplog.records][:2] == [
        "The task qa is called question_answering now; the old name goes on working."
    ] * 2
    with pytest.raises(ValueError, match="no task 'captionin': did you mean 'captioning'"):
        Task("t", "T", "captionin", ("wer",), {"": ""})  # type: ignore[arg-type]


def test_the_old_names_go_on_working(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = jsonl(tmp_path / "t.jsonl", {"audio": AUDIO[0], "text": "rain", "question": "What is it?"})
    out = tmp_path / "out"
    assert main(["eval", "qa", "--dataset", f"qa={file}", "--resamples", "100", "--output", str(out)]) == 0
    assert "called question_answering now" in capsys.readouterr().err
    assert list(results_in(out)["tasks"]) == ["question_answering"]


@pytest.mark.parametrize(
    ("name", "called"), [("mine/manifest.jsonl", "mine"), ("mine/held.csv", "held"), ("mine", "mine"), ("a/b", "a/b")]
)
def test_data_are_named_as_people_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, called: str
) -> None:
    (tmp_path / "mine").mkdir()
    for file in ("manifest.jsonl", "held.csv"):
        (tmp_path / "mine" / file).touch()
    monkeypatch.chdir(tmp_path)
    assert data_name(name) == called
