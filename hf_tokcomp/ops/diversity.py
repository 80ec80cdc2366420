"""Greedy selection of K tokens, each depending on the previous ones: farthest point, and largest determinant.

Both take at most K steps, for all audios at once, and need the cosines of one token with all others in each step. A
small matrix is computed at once, which is faster; otherwise one row per step, so that memory grows linearly with N.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .device import on_device
from .ranking import descending_rank
from .similarity import quantise

BLOCK = 1 << 22
"""Cosines held at once, 32 MiB."""
RANK = 1e-6
"""Of a unit vector's squared length: with less than this outside the span of those chosen, a token is spanned."""
FAINTEST = 1e-140
"""The least relevance beside the largest of an audio; its square is still far from float64's smallest number."""


class Cosines:
    """Cosines of unit vectors ``(audios, tokens, dim)`` in float64, by rows.

    Args:
        vectors: from `unit_double`; padding is zero.
        rows: how many rows per audio will be needed; for a few, the whole matrix does not pay off.
        rounded: whether to `quantise` them.
    """

    def __init__(self, vectors: Tensor, rows: int, rounded: bool = False) -> None:
        self.vectors = vectors
        self.rounded = rounded
        self.audio = torch.arange(vectors.shape[0], device=vectors.device)
        self.block = max(1, BLOCK // max(1, vectors.shape[0] * vectors.shape[1]))
        worth = self.block >= vectors.shape[1] <= 4 * rows
        self.all = self._with_all(vectors) if worth else None

    def _with_all(self, vectors: Tensor) -> Tensor:
        cosines = vectors @ self.vectors.mT
        return quantise(cosines) if self.rounded else cosines

    def row(self, chosen: Tensor) -> Tensor:
        """``(audios, tokens)``: the cosines of one token per audio, ``chosen`` ``(audios, 1)``, with all."""
        index = chosen[:, 0]
        if self.all is not None:
            return self.all[self.audio, index]
        return self._with_all(self.vectors[self.audio, index][:, None])[:, 0]

    def nearest(self, mask: Tensor) -> Tensor:
        """``(audios, tokens)``: every token's largest cosine with another one; -inf where there is none."""
        nearest = []
        for start in range(0, self.vectors.shape[1], self.block):
            part = self.vectors[:, start : start + self.block]
            cosines = self._with_all(part) if self.all is None else self.all
            cosines = cosines.masked_fill(~mask[:, None], -torch.inf)
            cosines.diagonal(offset=start, dim1=1, dim2=2).fill_(-torch.inf)
            nearest.append(cosines.amax(2))
        return torch.cat(nearest, 1)


def farthest_points(vectors: Tensor, mask: Tensor, counts: list[int]) -> Tensor:
    """``(audios, tokens)`` bool: ``counts[i]`` tokens far from each other, by 1 - cosine.

    First the token whose nearest neighbour is farthest, then repeatedly the one whose nearest chosen token is
    farthest. Ties go to the earlier token.

    Args:
        vectors: ``(audios, tokens, dim)`` unit vectors in float64; padding is zero.
        mask: ``(audios, tokens)`` bool, False for padding.
        counts: tokens to choose, at most as many as there are.
    """
    cosines = Cosines(vectors, vectors.shape[1], rounded=True)
    nearest = cosines.nearest(mask).masked_fill(~mask, torch.inf)  # tokens that must not be chosen are infinitely near
    closest = torch.where(mask, -torch.inf, torch.inf).to(nearest.dtype)
    order = []
    for _ in range(max(counts)):
        chosen = nearest.argmin(1, keepdim=True)  # the first of equals, which `min` does not guarantee
        order.append(chosen)
        closest = torch.maximum(closest, cosines.row(chosen)).scatter_(1, chosen, torch.inf)
        nearest = closest
    return _members(torch.cat(order, 1), _first(counts, mask), mask)


def largest_determinant(vectors: Tensor, relevance: Tensor, mask: Tensor, counts: list[int]) -> Tensor:
    """``(audios, tokens)`` bool: the greedy MAP of a determinantal point process, ``counts[i]`` tokens of each audio.

    The kernel is r_i cos_ij r_j. Each step adds the token that maximizes the determinant: its gain is r_i² times the
    squared part of its unit vector outside the span of the chosen ones, the residual. A token with a residual below
    1e-6 is spanned and no longer considered, however relevant it is; one with r = 0 comes after all others, as if r
    were tiny. Once all tokens are spanned, those with the largest r fill the rest. Ties go to the earlier token.

    Residuals are kept in float64, since each step builds on all previous ones; gains are compared with the precision
    of float32. The relevance enters neither the recurrence nor its stopping rule, so it may span any range.

    Args:
        vectors: ``(audios, tokens, dim)`` unit vectors in float64; padding is zero.
        relevance: ``(audios, tokens)`` r, finite and not negative where there is a token.
        mask: ``(audios, tokens)`` bool, False for padding.
        counts: tokens to choose, at most as many as there are.
    """
    relevance = torch.where(mask, relevance.double(), 0)
    relevance = relevance / relevance.amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    weight = relevance.clamp(min=FAINTEST).square()
    left = vectors.any(-1).double()  # a zero vector adds nothing
    steps = min(max(counts), vectors.shape[2])  # no more tokens than dimensions can be independent
    cosines = Cosines(vectors, steps)
    factor = vectors.new_zeros(vectors.shape[0], steps, vectors.shape[1])  # the chosen rows of the Cholesky factor
    order, new = [], []
    for step in range(steps):
        unspanned = left >= RANK
        gain = _as_float32(weight * left).masked_fill(~unspanned, -1)
        chosen = gain.argmax(1, keepdim=True)
        order.append(chosen)
        new.append(unspanned.gather(1, chosen))
        row, pivot = cosines.row(chosen), left.gather(1, chosen)
        if step:
            before = factor[:, :step]
            row = row - (before.gather(2, chosen[:, None].expand(-1, step, 1)).mT @ before)[:, 0]
        # A pivot this small means that all of an audio's tokens are spanned; it must just not become NaN.
        row = row / pivot.clamp(min=1e-8).sqrt()
        factor[:, step] = row
        left = (left - row.square()).scatter_(1, chosen, -1)  # a chosen token gains nothing again
    enough = torch.cat(new, 1)  # spanned tokens remain spanned
    kept = _members(torch.cat(order, 1), enough & _first(counts, mask)[:, :steps], mask)
    missing = on_device(counts, mask.device) - kept.sum(1)
    rest = mask & ~kept
    return kept | (rest & (descending_rank(relevance, rest) < missing[:, None]))


def _as_float32(values: Tensor) -> Tensor:
    """Float64 values rounded to the 24 bits of float32, but of any size: float32 itself has nothing below 1e-45."""
    wide = values * (2**29 + 1)  # of 53 bits, 29 go
    return wide - (wide - values)


def _first(counts: list[int], mask: Tensor) -> Tensor:
    """``(audios, steps)`` bool: which steps belong to an audio."""
    return torch.arange(max(counts), device=mask.device) < on_device(counts, mask.device)[:, None]


def _members(order: Tensor, real: Tensor, mask: Tensor) -> Tensor:
    """``(audios, tokens)`` bool: True for the tokens in ``order`` whose step is ``real``."""
    tokens = mask.shape[1]
    kept = mask.new_zeros(mask.shape[0], tokens + 1)
    return kept.scatter_(1, torch.where(real, order, tokens), True)[:, :tokens]
