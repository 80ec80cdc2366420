"""reuse_encoder: run the audio encoder once for several calls on the same features, to compare compressions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from ...config.encoder_options import EncoderOptions
from ..base import EncodedWindows, ModelPatch
from ..windows import Windows

_ACTIVE: ContextVar[_Kept | None] = ContextVar("hf_tokcomp_encoder_reuse", default=None)


class _Kept:
    """The last encoding and its inputs; the tensors are kept alive so that no other can take their identity."""

    def __init__(self, needs: frozenset[str]) -> None:
        self.needs = needs
        self.made_of: tuple[Any, ...] = ()
        self.under: tuple[Any, ...] = ()
        self.encoded: EncodedWindows | None = None

    def fits(self, made_of: tuple[Any, ...], under: tuple[Any, ...], needs: frozenset[str]) -> bool:
        if under != self.under or not needs <= self.needs or len(made_of) != len(self.made_of):
            return False
        return all(map(_same, made_of, self.made_of))


def _same(one: Any, other: Any) -> bool:
    """Whether two inputs are the same object, or equal tensors: decoding of long audio cuts windows at every call."""
    if one is other or not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
        return one is other
    alike = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
    return alike and one.device.type != "meta" and torch.equal(one, other)


@contextmanager
def reuse_encoder(needs: Iterable[str] = ()) -> Iterator[None]:
    """Within the ``with`` block, calls on the same features share one run of the encoder.

    Compressions differ only after the encoder, so comparing them need not repeat it. Results are bit-for-bit the same
    as without it. Different encoder options get different encodings. It has no effect if gradients are enabled, nor on
    ``none``, which runs the model's own code. Do not change the features in place inside the block; one encoding is
    kept at a time.

    Args:
        needs: the encoder outputs that the methods need (``compressor.requires``), so that the first run serves all.
    """
    token = _ACTIVE.set(_Kept(frozenset(needs)))
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def encode(
    model: Any, patch: ModelPatch, windows: Windows, needs: frozenset[str], options: EncoderOptions
) -> EncodedWindows:
    """Call `ModelPatch.encode`, or return its last result for the same features inside `reuse_encoder`."""
    kept = _ACTIVE.get()
    if kept is None or torch.is_grad_enabled():
        return patch.encode(model, windows, needs, options)
    made_of, under = (model, windows.features, windows.mask), (options, windows.numbers, windows.frames)
    if kept.encoded is None or not kept.fits(made_of, under, needs):
        kept.encoded = None  # frees its memory before the next one is allocated
        kept.needs |= needs
        kept.encoded = patch.encode(model, windows, kept.needs, options)
        kept.made_of, kept.under = made_of, under
    return kept.encoded
