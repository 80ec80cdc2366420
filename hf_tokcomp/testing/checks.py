"""The checks: each takes a `Subject` and raises if its model does not behave correctly when patched."""

from __future__ import annotations

from collections.abc import Callable

import torch

from . import around, calls, cross_attending, decoding
from .subject import NotApplicable, Subject

Check = Callable[[Subject], None]


def conformance_checks() -> tuple[Check, ...]:
    """All checks, for parametrising a test; together they take seconds for a tiny model.

    A check raises `ConformanceError` if a model behaves incorrectly, `NotApplicable` if it does not apply to the model,
    and any error that upstream raises.
    """
    every = (*calls.CHECKS, *decoding.CHECKS, *around.CHECKS, *cross_attending.CHECKS)
    return tuple(_in_one_thread_of_ours(check) for check in every)


def _in_one_thread_of_ours(check: Check) -> Check:
    """Wrap a check to run with gradients disabled, unless it enables them, and with a fixed random seed."""

    def run(subject: Subject) -> None:
        whole = subject.model()
        if subject.patch.inner(whole) is not whole:
            raise NotApplicable("a composite has no `forward`: its part goes through the checks")
        if subject.patch.reads_prompts == (check in cross_attending.CHECKS):
            where = "in a prompt" if subject.patch.reads_prompts else "by the decoder's cross-attention"
            raise NotApplicable(f"the model reads audio {where}")
        torch.manual_seed(0)
        with torch.no_grad():
            check(subject)

    run.__name__ = check.__name__
    run.__doc__ = check.__doc__
    return run
