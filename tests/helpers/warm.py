"""New Python processes that need not import torch again: forks of one that has.

Most of what a new process costs is the import of torch and scipy, which is the same for every program. Hugging Face's
libraries are left out, since they read the environment when they are imported.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, NoReturn

MODULES = (
    "scipy.optimize",
    "scipy.stats",
    "torch",
    "torch._dynamo",
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
    "torch.distributed.tensor",
)
"""What is imported before the forks. No module of Hugging Face's or ours, nor any that a test misses in a process."""

_LOCK = threading.Lock()


def run(
    code: str, *arguments: str, env: dict[str, str] | None = None, cwd: str | Path | None = None
) -> subprocess.CompletedProcess[str]:
    """As ``subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)``.

    Args:
        code: the program.
        arguments: its ``sys.argv[1:]``.
        env: its environment; None for this process's.
        cwd: its working directory; None for this process's.
    """
    return Started(code, *arguments, env=env, cwd=cwd).wait()


class Started:
    """A program that runs, see `run`; it hears Ctrl-C, whoever runs the tests."""

    def __init__(
        self, code: str, *arguments: str, env: dict[str, str] | None = None, cwd: str | Path | None = None
    ) -> None:
        self.arguments = [sys.executable, "-c", code, *arguments]
        self.folder = tempfile.TemporaryDirectory()
        self.out, self.err = Path(self.folder.name, "out"), Path(self.folder.name, "err")
        self.pid = _ask(
            code=code,
            arguments=arguments,
            env=dict(os.environ) if env is None else env,
            cwd=str(cwd or Path.cwd()),
            out=str(self.out),
            err=str(self.err),
        )

    def wait(self, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """How it ended, and what it wrote; after so many seconds it is killed."""
        timer = threading.Timer(seconds, os.kill, (self.pid, signal.SIGKILL))
        timer.start()
        try:
            status = _ask(wait=self.pid)
        finally:
            timer.cancel()
        written = self.out.read_text(), self.err.read_text()
        self.folder.cleanup()
        return subprocess.CompletedProcess(self.arguments, status, *written)


def _ask(**wanted: object) -> int:
    with _LOCK:
        parent = _parent()
        sent, answers = _pipes(parent)
        sent.write(json.dumps(wanted) + "\n")
        sent.flush()
        return int(answers.readline())


@cache
def _parent() -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-I", __file__], **pipes)  # type: ignore[call-overload,no-any-return]


def _pipes(parent: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if parent.stdin is None or parent.stdout is None:
        raise RuntimeError("It was started without pipes.")
    return parent.stdin, parent.stdout


def _serve() -> dict[str, object]:
    """Fork where a line on stdin says so, or wait for a fork's end; returns in the fork, with what it is to run."""
    for line in sys.stdin:
        wanted: dict[str, object] = json.loads(line)
        if "wait" in wanted:
            answer = os.waitstatus_to_exitcode(os.waitpid(int(str(wanted["wait"])), 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                return wanted
        print(answer, flush=True)
    os._exit(0)


def _become(wanted: dict[str, object]) -> None:
    """Have what a new interpreter would have: streams, environment, folder, path and arguments."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    streams = [nothing, *(os.open(str(wanted[name]), os.O_WRONLY | os.O_CREAT) for name in ("out", "err"))]
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(wanted["env"])  # type: ignore[arg-type]
    os.chdir(str(wanted["cwd"]))
    added = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = ["", *added]
    sys.argv = ["-c", *wanted["arguments"]]  # type: ignore[misc]


def _end(code: str) -> NoReturn:
    """Run the program as `python -c` would, and end at once: taking a whole interpreter apart takes a second."""
    status = 0
    try:
        exec(compile(code, "<string>", "exec"), vars(sys.modules["__main__"]))
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    for _name in MODULES:
        import_module(_name)
    gc.freeze()
    _wanted = _serve()
    _become(_wanted)
    sys.modules["__main__"] = ModuleType("__main__")
    _end(str(_wanted["code"]))
