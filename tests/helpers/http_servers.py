"""A server in a process of its own, and requests to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class ServerProcess:
    """A command that serves HTTP.

    Args:
        command: its words.
        port: where it will answer.
        log: file for its output.
        environment: more variables.
    """

    def __init__(self, command: Sequence[str], port: int, log: Path, environment: Mapping[str, str]) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.log = log
        with log.open("wb") as file:
            # Its own group of processes: killed, it leaves none behind.
            self.process = subprocess.Popen(
                command, env=os.environ | environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def said(self) -> str:
        """All of its output so far."""
        return self.log.read_text(errors="replace")

    def wait(self) -> None:
        """Until it answers."""
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5).close()
                return
            except OSError:
                assert self.process.poll() is None, self.said[-3000:]
                time.sleep(0.5)
        raise AssertionError(self.said[-3000:])

    def kill(self) -> None:
        """At once, without a farewell, if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(60)
