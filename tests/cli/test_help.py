"""`--help`: options in groups, and examples that run."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from other_packages import method
from shipped import needs_small_model
from typer.main import get_command

from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.cli import app, main
from hf_tokcomp.cli.epilogs import EXAMPLES
from hf_tokcomp.cli.groups import GROUPS
from hf_tokcomp.config import registry

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")
TAKES_LONG = "--random-weights"
"""An example with this needs a large machine: it is only parsed."""
LINES = [line for name in EXAMPLES if name != "finetune" for line in EXAMPLES[name]]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first example of `finetune` trains."""
    folder = tmp_path_factory.mktemp("adapter")
    files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*shlex.split(EXAMPLES["finetune"][0])[1:], "--use-cpu"]) == 0
    return folder / "my_adapter"


def files(folder: Path) -> None:
    """What the examples name, as a reader would have it; small."""
    (recording, truth), *_ = recordings()
    samples, rate = soundfile.read(recording)
    soundfile.write(folder / "question.wav", samples, rate)
    (folder / "recordings.jsonl").write_text(json.dumps({"audio": str(recording), "text": truth}) + "\n")
    shutil.copytree(SMALL_MODEL, folder / "my_model")
    (folder / "my_methods.py").write_text(method("epilog", "Epilog"))
    (folder / "eval.yaml").write_text("tasks: asr\ndataset: recordings.jsonl\ncompression: ltbm\noutput: from_file\n")
    (folder / "bench.yaml").write_text("compression: ltbm\naudio_seconds: 1\nrounds: 1\nseconds: 0\nnew_tokens: 1\n")
    (folder / "finetune.yaml").write_text(
        "dataset: recordings.jsonl\ncompression: ltbm\nmax_steps: 1\noutput_dir: second\nuse_cpu: true\n"
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of an example."""
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@needs_small_model
@pytest.mark.parametrize("line", [line for line in LINES if TAKES_LONG not in line and "my_adapter" not in line])
def test_examples_run(here: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *arguments = shlex.split(line)
    assert program == "hf-tokcomp"
    assert main(arguments) == 0, capsys.readouterr().err
    out, err = capsys.readouterr()
    assert out
    assert "hint" not in err


@needs_small_model
@pytest.mark.parametrize("line", [line for line in LINES if "my_adapter" in line])
def test_examples_with_an_adapter_run(here: Path, adapter: Path, line: str) -> None:
    shutil.copytree(adapter, here / "my_adapter")
    assert main(shlex.split(line)[1:]) == 0


@needs_small_model
def test_the_other_example_of_finetune_runs(here: Path) -> None:
    assert main(shlex.split(EXAMPLES["finetune"][1])[1:]) == 0
    assert (here / "second" / "adapter_config.json").is_file()


def test_what_takes_long_parses_and_little_does() -> None:
    long = [line for line in LINES if TAKES_LONG in line]
    assert len(long) == 1
    for line in long:
        name, *arguments = shlex.split(line)[1:]
        command: Any = get_command(app).commands[name]  # type: ignore[attr-defined]
        command.make_context(name, arguments)


def test_every_command_has_groups_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    group: Any = get_command(app)
    for name, command in group.commands.items():
        assert 2 <= len(EXAMPLES[name]) <= 3
        if name == "finetune":
            continue
        assert main([name, "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        headings = [line[:-1] for line in lines if line.endswith(":") and not line.startswith(" ")]
        assert headings == [*(each for each in GROUPS if each in headings), "Examples"], name
        assert "Running" in headings
        assert lines[-len(EXAMPLES[name]) :] == [f"  {line}" for line in EXAMPLES[name]]
        for param in command.params:
            assert getattr(param, "rich_help_panel", None) in GROUPS or param.name == "help", (name, param.name)


def test_without_colours_or_frames(call: Callable[..., Any]) -> None:
    out = call("compare", "--help")[1]
    assert not set(out) & set("\x1b╭│─")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For `call`."""
    return tmp_path
