"""Every model type of the library goes through the public checks, with a tiny model from `tests/helpers/subjects`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from subjects import subject_of
from subjects.qwen2_audio import IN_WINDOWS
from threads import one_thread

from hf_tokcomp.models.registry import PATCHES
from hf_tokcomp.testing import NotApplicable, Subject, conformance_checks


@pytest.mark.parametrize("check", conformance_checks(), ids=lambda check: str(check.__name__))
@pytest.mark.parametrize("model_type", PATCHES)
def test_conformance(model_type: str, check: Callable[[Subject], None]) -> None:
    run(check, subject_of(model_type))


@pytest.mark.parametrize("check", conformance_checks(), ids=lambda check: str(check.__name__))
def test_conformance_of_long_audio_in_windows(check: Callable[[Subject], None]) -> None:
    run(check, IN_WINDOWS)


def run(check: Callable[[Subject], None], subject: Subject) -> None:
    try:
        with one_thread():
            check(subject)
    except NotApplicable as reason:
        pytest.skip(str(reason))
