"""`Hub`: a server on loopback, and the real huggingface_hub pointed at it, here or in a process of its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import transformers
import warm
from hub_server import TOKEN, HubServer
from huggingface_hub import constants, file_download, hf_api
from huggingface_hub.utils import _http
from places import HELPERS


class _Impatient:
    """The module `time`, whose `sleep` returns at once."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """No time at all."""


class Hub(HubServer):
    """A server with folders for its clients' caches.

    Args:
        folder: where the caches go; each client has its own ``HF_HOME`` below it, by name.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.token = TOKEN

    def cache(self, home: str = "home") -> Path:
        """The folder in which the client with this home keeps what it downloaded."""
        return self.folder / home / "hub"

    def cached(self, home: str = "home") -> list[str]:
        """Files in a client's cache that can be read, locks and half downloads aside: ``snapshots/...`` paths."""
        root = self.cache(home)
        return sorted(str(path.relative_to(root)) for path in root.glob("*/snapshots/*/**/*") if path.is_file())

    def environment(self, home: str = "home", token: str | None = TOKEN, offline: bool = False) -> dict[str, str]:
        """The environment of a client: nothing of ours is left in it that could lead it elsewhere."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
        ours = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.folder / home),
            "HF_HUB_OFFLINE": str(int(offline)),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "DISABLE_SAFETENSORS_CONVERSION": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        return kept | ours | ({} if token is None else {"HF_TOKEN": token})

    def run(
        self,
        code: str,
        *arguments: str,
        home: str = "home",
        token: str | None = TOKEN,
        offline: bool = False,
        check: bool = True,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run Python code in a new process that knows this server alone; ``sys.argv[1:]`` are the arguments.

        Args:
            home: name of its ``HF_HOME``: another name is another machine, with an empty cache.
            token: ``HF_TOKEN``; None for none.
            offline: ``HF_HUB_OFFLINE``.
            check: raise with what it wrote to stderr where it fails.
            env: more variables.
        """
        variables = self.environment(home, token, offline) | (env or {})
        variables["PYTHONPATH"] = str(HELPERS)
        done = warm.run(code, *arguments, env=variables)
        if check and done.returncode:
            raise AssertionError(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    @contextmanager
    def here(self, home: str = "home", token: str | None = TOKEN, offline: bool = False) -> Iterator[Hub]:
        """Point this process's huggingface_hub at the server. It read its settings at import, so each is set again.

        Before it tries once more it waits for no time here, where it would for half a minute in all.
        """
        variables = self.environment(home, token, offline)
        values: dict[str, Any] = {
            "ENDPOINT": self.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": self.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_URL_HOSTS": constants.HF_URL_HOSTS | {"127.0.0.1"},
            "HF_HOME": variables["HF_HOME"],
            "HF_HUB_CACHE": str(self.cache(home)),
            "HF_TOKEN_PATH": str(self.folder / home / "token"),
            "HF_STORED_TOKENS_PATH": str(self.folder / home / "stored_tokens"),
            "HF_HUB_OFFLINE": offline,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_TELEMETRY": True,
        }
        shared = transformers.utils.hub  # it keeps one client for the whole process
        with (
            patch.multiple(constants, **values),
            patch.object(shared, "_hf_api", None) if hasattr(shared, "_hf_api") else nullcontext(),
            patch.object(hf_api.api, "endpoint", self.endpoint),
            patch.object(_http, "time", _Impatient()),
            patch.object(file_download, "time", _Impatient()),
            patch.dict(os.environ, variables, clear=True),
        ):
            yield self
