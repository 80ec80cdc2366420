"""Fixtures of the recipes' tests. `recipes` itself is found because the root conftest.py stands beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import threads

from hf_tokcomp.config import registry as methods
from hf_tokcomp.models import registry as models


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small are fastest on one, and their sums are the same in every run then."""
    with threads.one_thread():
        yield


@pytest.fixture(scope="module")
def _own_registries() -> Iterator[None]:
    """Models and methods that recipes register are gone after the module's tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(methods, "_METHODS", dict(methods._METHODS))
        patched.setattr(models, "PATCHES", dict(models.PATCHES))
        yield
