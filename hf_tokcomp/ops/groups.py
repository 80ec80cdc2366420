"""Groups grown from left to right, stage 1 of SA-MAP: found for all tokens at once instead of one after another.

A token joins the group before it while its mean cosine with the group's members reaches a threshold, and begins the
next group otherwise. Where a group ends depends on where it began, so the rule is sequential; but where it would end
can be asked of every token as if a group began there. From prefix sums of the unit vectors, the mean cosine of token t
with the members s to t-1 is one product, so tiles of starts times tokens are matrix products. The real starts are then
those that the links from each start to the next one lead to from the first token, which takes log2 N steps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from .ranking import descending_rank
from .similarity import quantise

TILE = 64
"""Starts and tokens in a tile; tokens this far ahead are looked at before it is asked whether that was enough."""


def grow_groups(vectors: Tensor, lengths: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Where the groups begin, and how well each token fits in.

    Args:
        vectors: ``(audios, tokens, dim)`` unit vectors in float64; padding is zero.
        lengths: ``(audios,)`` tokens of each audio, at least 1.
        threshold: least mean cosine with the members of the group for a token to join it.

    Returns:
        ``(audios, tokens)`` bool, True where a group begins; and ``(audios, tokens)``, the quantised mean cosine of
        each token with the members of its group before it, 0 where it has none.
    """
    before = vectors.cumsum(1) - vectors  # the sum over all tokens before
    own = (vectors * before).sum(-1)
    index = torch.arange(vectors.shape[1], device=vectors.device)
    starts = _reached(_next_starts(vectors, before, own, lengths, threshold)) & (index < lengths[:, None])
    start = torch.where(starts, index, 0).cummax(1).values
    earlier = (vectors * before.gather(1, start[..., None].expand_as(before))).sum(-1)
    return starts, quantise((own - earlier) / (index - start).clamp(min=1))


def cut_weakest(starts: Tensor, cosine: Tensor, mask: Tensor, wanted: Tensor) -> Tensor:
    """``starts`` with more groups where an audio has less than ``wanted``: the tokens that fit in worst begin one.

    Args:
        starts: ``(audios, tokens)`` bool, True where a group begins.
        cosine: ``(audios, tokens)`` how well each token fits in; ties go to the earlier one.
        mask: ``(audios, tokens)`` bool, the tokens there are.
        wanted: ``(audios,)`` fewest groups.
    """
    joined = mask & ~starts
    missing = wanted - starts.sum(1)
    return starts | (joined & (descending_rank(-cosine, joined) < missing[:, None]))


def _next_starts(vectors: Tensor, before: Tensor, own: Tensor, lengths: Tensor, threshold: float) -> Tensor:
    """``(audios, tokens)``: where the next group begins if one begins here; the audio's length where none does."""
    tokens = vectors.shape[1]
    tiles = -(-tokens // TILE)
    fill = tiles * TILE - tokens
    tiled = (vectors.shape[0], tiles, TILE)
    vectors, before = (pad(x, (0, 0, 0, fill)).reshape(*tiled, x.shape[2]) for x in (vectors, before))
    own = pad(own, (0, fill)).reshape(tiled)
    index = torch.arange(tiles * TILE, device=own.device).view(tiles, TILE)
    following = lengths[:, None, None].expand(-1, tiles, TILE).clone()
    for ahead in range(tiles):  # starts in tile i, tokens in tile i + ahead
        token, begin = index[ahead:, None], index[: tiles - ahead, :, None]
        total = own[:, ahead:, None] - before[:, : tiles - ahead] @ vectors[:, ahead:].mT
        apart = (quantise(total / (token - begin).clamp(min=1)) < threshold) & (token > begin)
        first = torch.where(apart, token, tiles * TILE).amin(-1)
        seen = following[:, : tiles - ahead]
        torch.minimum(seen, first, out=seen)
        # Answers lie within what has been looked at, or the search goes on: the one synchronisation per tile.
        if ahead + 1 == tiles or bool((seen <= index[ahead:, -1:] + 1).all()):
            break
    return following.flatten(1)[:, :tokens]


def _reached(following: Tensor) -> Tensor:
    """``(audios, tokens)`` bool: the tokens that the links lead to from the first one, the first one included.

    After r rounds all tokens within 2^r links are marked, and every link is 2^r links long.
    """
    tokens = following.shape[1]
    jump = pad(following, (0, 1), value=tokens)
    reached = torch.zeros_like(jump, dtype=torch.bool)
    reached[:, 0] = True
    for _ in range(tokens.bit_length()):
        reached = reached.scatter(1, torch.where(reached, jump, tokens), True)
        jump = jump.gather(1, jump)
    return reached[:, :tokens]
