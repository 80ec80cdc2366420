"""Fixtures of all tests."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# What imports transformers is imported by who asks for it: pytest-xdist's own process loads this file, too.
if TYPE_CHECKING:
    from hub_client import Hub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A Hub on loopback of the test's own, and empty: `hub.run(code)`, `with hub.here():`, `hub.files(repo)`."""
    from hub_client import Hub

    with Hub(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def hub_here(hub: Hub) -> Iterator[Hub]:
    """`hub`, with this very process's huggingface_hub pointed at it."""
    with hub.here():
        yield hub


@pytest.fixture(scope="module")
def libraries_as_they_were() -> Iterator[None]:
    """The command line silences the libraries for good; the tests that follow want them as they were.

    One thread: models this small gain nothing from more, and on a busy machine threads wait for each other.
    """
    import transformers
    from huggingface_hub.utils import logging as hub_logging
    from threads import one_thread

    verbosity, bar = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    hub = hub_logging.get_verbosity()
    with one_thread():
        yield
    transformers.logging.set_verbosity(verbosity)
    hub_logging.set_verbosity(hub)
    if bar:
        transformers.logging.enable_progress_bar()


@pytest.fixture
def call(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in the module's own `folder`: exit code, stdout, stderr."""
    from hf_tokcomp.cli import main

    monkeypatch.chdir(folder)
    monkeypatch.delenv("HF_TOKCOMP_DEBUG", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def pytest_collection_finish() -> None:
    """Have the garbage collector skip what is imported by now."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _imported_meanwhile() -> Iterator[None]:
    """Likewise what a module's tests imported: every `Trainer` ends with a collection."""
    yield
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let what was imported be freed: some libraries report what is left at the end as leaks."""
    gc.unfreeze()
