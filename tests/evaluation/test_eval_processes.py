"""`hf-tokcomp eval` in several processes, and killed: nothing is lost, nothing counted twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
from result_folders import results_in
from training_tools import run_processes

import hf_tokcomp.training.launch
from hf_tokcomp.cli import main
from hf_tokcomp.evaluation.journal import Journal
from hf_tokcomp.inference.processes import process

pytestmark = pytest.mark.usefixtures("one_thread")
LAUNCH = Path(hf_tokcomp.training.launch.__file__).parent / "two_cpus.yaml"
ACCELERATE = ("-m", "accelerate.commands.launch", "--config_file", str(LAUNCH), "--main_process_port", "0")


def kill_when(command: Sequence[str], ready: Callable[[], bool]) -> None:
    """Start a program, and kill it and all its processes at once when it is ready for that."""
    with subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as program:
        deadline = time.monotonic() + 300
        while not ready() and time.monotonic() < deadline:
            if program.poll() is not None:
                raise AssertionError(f"It ended by itself: {program.stdout and program.stdout.read()!r}")
            time.sleep(0.02)
        parent = psutil.Process(program.pid)
        tree = [parent, *parent.children(recursive=True)]  # torchrun gives its workers sessions of their own
        for each in tree:
            each.kill()
        psutil.wait_procs(tree, timeout=60)  # until then they hold their locks


def written(folder: Path, rank: int) -> int:
    """Bytes of answers that a process has written."""
    file = folder / f"answers-{rank}.jsonl"
    return file.stat().st_size if file.is_file() else 0


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_and_started_again(processes: int, strings: Path, tmp_path: Path) -> None:
    options = ["eval", "librispeech", "--dataset", str(strings), "--batch-size", "1", "--resamples", "100"]
    options += [part for method in ("ltbm", "random", "top_k", "visionzip") for part in ("--compression", method)]
    options += ["--retention-ratio", "1/2,1/3,1/4", "--seeds", "2"]
    options += ["--prompt", "Transcribe the digits."]
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    launcher = ACCELERATE if processes == 2 else ()
    kill_when(
        [*launcher, "-m", "hf_tokcomp", *options, "--output", str(broken)],
        lambda: all(written(broken, rank) > 1000 for rank in range(processes)),
    )
    with (broken / "answers-0.jsonl").open("ab") as stream:
        stream.write(b'{"task": "librispeech", "item": "0", "ru')  # as if it had been writing
    there = len(Journal(broken).read())
    assert main([*options, "--output", str(broken)]) == 0  # one process, however many there were
    assert main([*options, "--output", str(whole)]) == 0
    assert 0 < there < len(Journal(whole).read())
    assert Journal(broken).read() == Journal(whole).read()
    lines = [line for file in broken.glob("answers-*.jsonl") for line in file.read_bytes().splitlines()]
    assert len(lines) == len(Journal(whole).read()), "nothing is written twice"
    assert results_in(broken)["scores"] == results_in(whole)["scores"]
    assert (broken / "results.md").read_bytes() == (whole / "results.md").read_bytes()
    assert [session["processes"] for session in results_in(broken)["sessions"]] == [processes, 1]


PROCESSES = """
import torch
from accelerate import PartialState
from hf_tokcomp.cli import main
from hf_tokcomp.inference.reader import Reader
torch.set_num_threads(1)
code = main(sys.argv[2:])
print(code, PartialState().num_processes)
open(f"{sys.argv[1]}/{PartialState().process_index}.txt", "w").write(f"{code} {PartialState().num_processes}")
"""


def test_two_processes_share_the_work(strings: Path, tmp_path: Path) -> None:
    options = ["eval", "librispeech", "--dataset", str(strings), "--batch-size", "1", "--resamples", "100"]
    options += ["--compression", "stride", "--retention-ratio", "1/2", "--prompt", "Transcribe the digits."]
    run_processes(PROCESSES, tmp_path, *options, "--output", tmp_path / "two")
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == ["0 2", "0 2"]
    assert main([*options, "--output", str(tmp_path / "one")]) == 0
    shares = [len((tmp_path / "two" / f"answers-{rank}.jsonl").read_text().splitlines()) for rank in (0, 1)]
    assert shares == [4, 2], "two of the three recordings and one, each under two runs"
    assert Journal(tmp_path / "two").read() == Journal(tmp_path / "one").read()
    assert results_in(tmp_path / "two")["scores"] == results_in(tmp_path / "one")["scores"]
    assert results_in(tmp_path / "two")["sessions"][0]["processes"] == 2
    # One process goes on with what two began.
    (tmp_path / "two" / "answers-1.jsonl").unlink()
    assert main([*options, "--output", str(tmp_path / "two")]) == 0
    assert Journal(tmp_path / "two").read() == Journal(tmp_path / "one").read()


def test_processes_that_do_not_know_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    process()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match=r"2 processes were started, and this one knows of 1.*ACCELERATE_USE_CPU"):
        process()
