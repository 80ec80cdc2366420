"""Every kind of model, and no gradients but for tests that are marked `grad`."""

from __future__ import annotations

from kinds import kind, model, no_grad, seconds

__all__ = ["kind", "model", "no_grad", "seconds"]
