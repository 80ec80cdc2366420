"""The checks: each takes a `Subject` and raises where its model does not do under its patch what it should."""

from __future__ import annotations

from collections.abc import Callable

import torch

from . import around, calls, decoding
from .subject import NotApplicable, Subject

Check = Callable[[Subject], None]


def conformance_checks() -> tuple[Check, ...]:
    """All checks, for parametrising a test; together they take seconds for a tiny model.

    A check raises `ConformanceError` where a model does something wrong, `NotApplicable` where it has nothing to say
    about a model, and whatever upstream raises.
    """
    return tuple(_in_one_thread_of_ours(check) for check in (*calls.CHECKS, *decoding.CHECKS, *around.CHECKS))


def _in_one_thread_of_ours(check: Check) -> Check:
    """The check with gradients off, unless it turns them on, and with the same random numbers every time."""

    def run(subject: Subject) -> None:
        whole = subject.model()
        if subject.patch.inner(whole) is not whole:
            raise NotApplicable("a composite has no `forward`: its part goes through the checks")
        torch.manual_seed(0)
        with torch.no_grad():
            check(subject)

    run.__name__ = check.__name__
    run.__doc__ = check.__doc__
    return run
