"""What the tests of whole evaluations share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import threads
from training_files import jsonl

from hf_tokcomp.checkpoints import recordings


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The small model is fastest on one, and its sums are the same in every process then."""
    with threads.one_thread():
        yield


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped recordings as a table that the librispeech task reads."""
    folder = tmp_path_factory.mktemp("strings")
    return jsonl(folder / "test.jsonl", *({"audio": str(path), "text": text} for path, text in recordings()))
