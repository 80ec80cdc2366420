"""A small Hub on loopback: the endpoints that huggingface_hub calls for repositories of models, and faults on demand.

Files travel as the Hub sends small ones (no LFS, no Xet). `HubServer` keeps everything in memory and every request in a
log; `fail` and `cut` make chosen requests go wrong.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from typing import Any

from hub_handler import Handler
from hub_store import Repository

TOKEN = "hf_" + "loopback" * 4


@dataclass(frozen=True)
class Request:
    """One request as it came in, and how it was answered."""

    method: str
    path: str
    token: str | None
    range: str | None
    status: int


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose path matches (for ever if None)."""

    pattern: str
    method: str | None
    times: int | None
    status: int = 0
    headers: Mapping[str, str] | None = None
    cut_after: int | None = None
    reset: bool = False


class HubServer:
    """The server; a context manager.

    Attributes:
        endpoint: its address, for ``HF_ENDPOINT``.
        users: the tokens that are known, and whose they are. Writing needs one, and so does reading what is private.
        forbidden: namespaces that nobody may write to.
        gated: repositories whose files nobody may read.
        requests: every request so far.
    """

    def __init__(self) -> None:
        self.users = {TOKEN: "someone"}
        self.forbidden: set[str] = set()
        self.gated: set[str] = set()
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self._http.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._http.shutdown()
        self._http.server_close()

    def put(self, repo: str, files: Mapping[str, bytes | str | None], revision: str = "main", **options: Any) -> str:
        """Commit files without HTTP (the repository is made if need be); returns the commit's id."""
        content = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
        with self.lock:
            stored = self.repositories.setdefault(repo, Repository(repo))
            stored.private = options.get("private", stored.private)
            on = None if revision in stored.refs else "main"
            return stored.commit(content, options.get("message", ""), revision, on).sha

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a repository."""
        commit = self.repositories[repo].at(revision)
        if commit is None:
            raise KeyError(f"{repo} has no revision {revision}")
        return dict(commit.files)

    def fail(self, pattern: str = "", status: int = 500, times: int | None = 1, method: str | None = None) -> None:
        """Answer matching requests with an error."""
        headers = {"X-Error-Message": "Invalid credentials in Authorization header"} if status == 401 else {}
        self.faults.append(Fault(pattern, method, times, status, headers))

    def cut(
        self,
        pattern: str = "/resolve/",
        after: int = 10,
        times: int | None = 1,
        reset: bool = False,
        method: str = "GET",
    ) -> None:
        """End the connection in the middle of the body of matching answers; with `reset`, roughly."""
        self.faults.append(Fault(pattern, method, times, cut_after=after, reset=reset))

    def fault(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets."""
        with self.lock:
            for fault in self.faults:
                if re.search(fault.pattern, path) and fault.method in (None, method) and fault.times != 0:
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault
        return None

    def log(self, *values: Any) -> None:
        """Note a request."""
        self.requests.append(Request(*values))
