"""`--import`: methods and models of one's own in every command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from other_packages import command, method
from typer.main import get_command

from hf_tokcomp.cli import app
from hf_tokcomp.config import registry

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules with a method each, and one that fails."""
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "beside.py").write_text("POWER = 3.0\n")
    text = method("in_file", "InFile") + "\nimport beside\n"
    (tmp_path / "here" / "cli_own_file.py").write_text(text)
    (tmp_path / "cli_own_module.py").write_text(method("in_module", "InModule"))
    (tmp_path / "cli_fails.py").write_text("import json\n\njson.loads('{')\n")
    (tmp_path / "json.py").write_text("")
    return tmp_path


IN_VLLM = ("export-vllm", "serve")
"""Commands whose compression runs in vLLM, which would not import the module."""


def test_every_command_takes_it() -> None:
    group: Any = get_command(app)
    for name, each in group.commands.items():
        if name in IN_VLLM:
            continue
        assert "--import" in [option for param in each.params for option in param.opts], name


def test_a_module_and_a_file_are_imported(call: Callable[..., Any], folder: Path) -> None:
    code, out, err = call("methods", "--import", "cli_own_module", "--import", "here/cli_own_file.py")
    assert (code, err) == (0, "")
    assert {"in_module", "in_file"} <= {line.split()[0] for line in out.splitlines() if line}


def test_a_model_reads_with_a_method_of_ones_own(folder: Path) -> None:
    tiny.model("qwen2_audio").save_pretrained(folder / "model")
    tiny.processor("qwen2_audio").save_pretrained(folder / "model")
    given = ("--model", str(folder / "model"), "--max-new-tokens", "2", "--json", "--retention-ratio", "1/4")
    own = ("--compression", "in_file:power=1", "--import", str(folder / "here" / "cli_own_file.py"))
    done = command(folder / "here", "run", *given, *own)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["compression"]["power"] == 1.0
    unknown = command(folder / "here", "run", *given, *own[:2])
    assert unknown.returncode == 1
    assert "in_file" in unknown.stderr


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("cli_fails", "--import cli_fails: JSONDecodeError: Expecting property name"),
        ("gone.py", "--import gone.py: there is no such file."),
        ("gone_module", "--import gone_module: there is no such module"),
        ("", "there is no such module"),
        ("json.py", "--import json.py: ImportError: another module is called 'json'; rename the file"),
    ],
)
def test_a_failing_import_is_one_line(call: Callable[..., Any], folder: Path, module: str, said: str) -> None:
    for name in ("methods", "models", "demo"):
        code, out, err = call(name, "--import", module)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert said in err
