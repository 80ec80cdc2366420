"""Ctrl-C, by a real signal to a real process: a line that says what is kept, status 130, and never a traceback."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import warm
from places import ROOT

from hf_tokcomp.cli import main

PATIENCE = 300
pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends SIGINT as POSIX has it")


def hears_sigint() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def begin(folder: Path, *arguments: str, way: str = "script") -> subprocess.Popen[str]:
    """Start a command line, as the installed script or as ``python -m``."""
    script = folder / "hf-tokcomp"
    script.write_text("import sys\nfrom hf_tokcomp.cli import main\nsys.exit(main())\n")
    how = [str(script)] if way == "script" else ["-m", "hf_tokcomp"]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    env.pop("HF_TOKCOMP_DEBUG", None)
    # Whoever runs the tests in the background may have SIGINT ignored, which a process inherits.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": hears_sigint}
    return subprocess.Popen([sys.executable, *how, *arguments], cwd=folder, env=env, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


def interrupt(process: subprocess.Popen[str], ready: Callable[[], bool]) -> str:
    """Send SIGINT once it is so far; what it writes on stderr then."""
    end = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it never got so far"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    lines = re.findall("hf-tokcomp: error: Interrupted.*", err)  # perhaps behind a bar
    assert len(lines) == 1, err
    return str(lines[0])


def loaded(process: subprocess.Popen[str], library: str) -> Callable[[], bool]:
    """Whether a process has mapped a library, that is, is importing the package around it."""

    def found() -> bool:
        try:
            return library in Path(f"/proc/{process.pid}/maps").read_text()
        except OSError:
            return False

    return found


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A table of a few noises."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(12):
        soundfile.write(tmp_path / f"{i}.wav", 0.1 * rng.normal(size=16000), 16000)
        lines.append(json.dumps({"audio": f"{i}.wav", "text": "one two"}) + "\n")
    table = tmp_path / "rows.jsonl"
    table.write_text("".join(lines))
    return table


def going_on(line: str) -> list[str]:
    """The command that a message names, without the program."""
    found = re.search(r"with hf-tokcomp (.*)$", line)
    assert found, line
    return shlex.split(found[1])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads what a process has mapped from /proc")
@pytest.mark.parametrize("way", ["script", "module"])
@pytest.mark.parametrize("library", ["libtorch_cpu", "tokenizers", "safetensors"])
def test_during_imports(way: str, library: str, tmp_path: Path) -> None:
    process = begin(tmp_path, "run", way=way)
    assert interrupt(process, loaded(process, library)) == "hf-tokcomp: error: Interrupted."


def test_a_program_of_ones_own_keeps_its_own_way(tmp_path: Path) -> None:
    # Importing the library changes nothing about signals, in whichever thread, and an ignored one stays ignored.
    for before in ("default_int_handler", "SIG_IGN"):
        code = (
            f"import signal, sys; sys.path.insert(0, {str(ROOT)!r}); signal.signal(2, signal.{before})\n"
            f"import hf_tokcomp; assert signal.getsignal(2) is signal.{before}\n"
            f"from hf_tokcomp.cli import main; main(['models']); assert signal.getsignal(2) is signal.{before}"
        )
        done = warm.run(code, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_eval_names_the_folder_and_the_command(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["eval", "librispeech", "--dataset", rows.name, "--output", "a folder", "--batch-size", "1"]
    given += ["--compression", "ltbm", "--max-new-tokens", "40"]
    process = begin(tmp_path, *given)
    journal = tmp_path / "a folder" / "answers-0.jsonl"
    line = interrupt(process, lambda: journal.is_file() and journal.stat().st_size > 0)
    assert "The answers so far are in a folder: go on with hf-tokcomp eval" in line
    assert going_on(line) == given
    before = journal.read_bytes()
    assert before.endswith(b"\n")
    monkeypatch.chdir(tmp_path)
    assert main(going_on(line)) == 0, capsys.readouterr().err
    assert journal.read_bytes().startswith(before)
    assert len(journal.read_bytes().splitlines()) == 24


def test_finetune_names_the_checkpoint_and_the_command(
    rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["finetune", "--dataset", rows.name, "--compression", "average_pooling", "--output-dir", "out"]
    given += ["--save-steps", "2", "--max-steps", "400", "--report-to", "none", "--per-device-train-batch-size", "1"]
    process = begin(tmp_path, *given)
    state = tmp_path / "out" / "checkpoint-2" / "trainer_state.json"
    line = interrupt(process, state.is_file)
    named = re.search(r"(out/checkpoint-\d+) is whole: go on from it with", line)
    assert named, line
    assert (tmp_path / named[1] / "trainer_state.json").is_file()
    assert going_on(line) == [*given, "--resume-from-checkpoint", "last"]
    monkeypatch.chdir(tmp_path)
    short = ["6" if word == "400" else word for word in going_on(line)]
    step = int(named[1].rpartition("-")[2])
    if step < 6:
        assert main(short) == 0, capsys.readouterr().err


def test_bench_names_the_file(tmp_path: Path) -> None:
    given = ["--audio-seconds", "2,3,4,5", "--compression", "average_pooling", "--retention-ratio", "1/2"]
    process = begin(tmp_path, "bench", *given, "--rounds", "1", "--seconds", "1", "--output", "speed.json")
    file = tmp_path / "speed.json"
    line = interrupt(process, file.is_file)
    assert line.endswith("Interrupted. speed.json has what was measured so far.")
    assert json.loads(file.read_text())["rows"]
    assert not list(tmp_path.glob(".*.part"))
