"""prompt.json: what a model brings along is what it is asked, by every command and from wherever it is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hub_client import Hub
from result_folders import results_in
from training_files import jsonl

from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.cli import main
from hf_tokcomp.hub.prompt_file import PROMPT_NAME, StoredPrompt, parse_prompt, write_prompt
from hf_tokcomp.inference.reader import Reader
from hf_tokcomp.inference.recordings import GENERAL_PROMPT
from hf_tokcomp.loading.stored_prompt import read_prompt
from hf_tokcomp.sharing.pack import pack

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")
OTHER = "Which digits are spoken?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model with another prompt."""
    folder = tmp_path_factory.mktemp("asked") / "model"
    shutil.copytree(SMALL_MODEL, folder)
    write_prompt(folder, StoredPrompt(OTHER, "asr"))
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    return jsonl(folder / "test.jsonl", *({"audio": str(path), "text": text} for path, text in recordings()))


def test_the_shipped_model_says_what_it_is_asked() -> None:
    assert read_prompt(SMALL_MODEL, {}) == StoredPrompt("Transcribe the digits.", "asr")


@pytest.mark.parametrize("given", [None, "Transcribe the speech."])
def test_every_command_asks_it_unless_the_user_does(
    model: Path, table: Path, given: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [] if given is None else ["--prompt", given]
    asked: dict[str, Any] = {}
    assert main(["run", "--model", str(model), "--json", *more]) == 0
    asked["run"] = {each["prompt"] for each in json.loads(capsys.readouterr().out)["results"]}
    cells = ["--compression", "stride", "--retention-ratio", "1/2", "--positions", "original"]
    assert main(["compare", "--model", str(model), "--json", *cells, *more]) == 0
    asked["compare"] = {each["prompt"] for each in json.loads(capsys.readouterr().out)["recordings"]}
    out = tmp_path / "out"
    options = ["--model", str(model), "--dataset", str(table), "--resamples", "100", "--output", str(out)]
    assert main(["eval", "librispeech", *options, *more]) == 0
    asked["eval"] = {results_in(out)["tasks"]["librispeech"]["prompt"]}
    assert asked == {command: {given or OTHER} for command in ("run", "compare", "eval")}


def test_a_task_of_another_kind_asks_its_own(
    table: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = ["--model", str(model), "--dataset", str(table), "--resamples", "100", "--output", str(out)]
    assert main(["eval", "covost2", *options]) == 0, capsys.readouterr()
    assert "translate" in results_in(out)["tasks"]["covost2"]["prompt"]


def test_without_the_file_everything_loads(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "old")
    (tmp_path / "old" / PROMPT_NAME).unlink()
    reader = Reader(str(tmp_path / "old"))
    assert reader.stored_prompt is None
    assert reader.default_prompt == GENERAL_PROMPT


def test_it_travels_with_a_push_and_is_found_on_the_hub(model: Path, hub_here: Hub) -> None:
    package = pack("someone/digits", compression="stride", folder=model)
    assert package.files[PROMPT_NAME] == model / PROMPT_NAME
    assert f'"text": "{OTHER}"' in package.card(overwrite=True)
    hub_here.put("someone/digits", {n: f if isinstance(f, bytes) else f.read_bytes() for n, f in package.files.items()})
    assert Reader("someone/digits").default_prompt == OTHER


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"prompt": 3}', '{"prompt": " "}', '{"prompt": "a", "task": 1}'])
def test_what_is_no_prompt_is_left_aside(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match=r"p\.json"):
        parse_prompt(text.encode(), "p.json")
    (tmp_path / PROMPT_NAME).write_text(text)
    assert read_prompt(tmp_path, {}) is None
    assert "It is ignored" in caplog.text
