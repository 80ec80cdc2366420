"""Bipartite merging in rounds, after ToMe (ICLR 2023), with or without a temporal window (arXiv 2605.25179).

The paper's abstract was all there was to read; the following is our reading. In a round the tokens that are left, by
their place in the list, alternate between A (even) and B (odd). Every a finds its most similar b, by the cosine of the
current features, among those at most `window` original tokens away; ties go to the earlier b. The best
``min(N - K, floor(N / 2))`` edges merge, ties to the earlier a, fewer if fewer exist; several a may join one b. The
merged token is the mean over its members and keeps b's position. If a round finds no edge, the window doubles and stays
doubled. Rounds go on until K tokens are left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .assignment import Assignment
from .audio_tokens import AudioTokens
from .selection import descending_rank
from .similarity import finite, quantise, unit

BLOCK = 1 << 22
"""Similarities held at once: the dense search goes through A in blocks of this many entries."""


def merge_in_rounds(tokens: AudioTokens, vectors: Tensor, counts: list[int], window: int | None) -> Assignment:
    """Merge each audio down to ``counts[i]`` tokens.

    Args:
        tokens: the batch.
        vectors: ``(audios, tokens, dim)``, what is compared; averaged from round to round, in float32.
        counts: tokens wanted of each audio, below its present number.
        window: farthest two tokens may be apart, in original tokens; None for no limit.
    """
    device = tokens.features.device
    features = finite(vectors)  # with a NaN cosine, no edge would ever be found
    position = torch.arange(features.shape[1], device=device).expand(features.shape[:2])
    size = tokens.mask.float()
    slot = torch.where(tokens.mask, position, -1)
    reach = None if window is None else [window] * len(counts)
    left, wanted = list(tokens.counts), torch.tensor(counts, device=device)
    while left != counts:
        now = torch.tensor(left, device=device)
        partner, similarity = best_partners(features, position, left, reach)
        joins = _best_edges(similarity, now, wanted)
        destination = _destinations(joins, partner, features.shape[1], now)
        after = now - joins.sum(1)
        before, left = left, after.tolist()  # the one synchronisation of a round
        width = max(left)
        slot = torch.where(slot >= 0, destination.gather(1, slot.clamp(min=0)), -1)
        position = _stay_in_place(position, joins, now, width)
        features, size = _weighted_mean(features, size, destination, now, width)
        if reach is not None:
            stuck = [a == b and b > k for a, b, k in zip(before, left, counts, strict=True)]
            reach = [2 * r if s else r for r, s in zip(reach, stuck, strict=True)]
    return Assignment.mean(slot, wanted, max(counts), position)


def best_partners(
    features: Tensor, position: Tensor, left: list[int], reach: list[int] | None
) -> tuple[Tensor, Tensor]:
    """For every a (even place) its most similar b (odd place) within reach.

    Args:
        features: ``(audios, tokens, dim)`` of the tokens left.
        position: ``(audios, tokens)`` their places in the original audio, rising.
        left: tokens left of each audio.
        reach: farthest a and b may be apart, per audio; None for no limit.

    Returns:
        ``(audios, A)`` the partner's place in the list, and ``(audios, A)`` its similarity, -inf where a has none.
    """
    vectors = unit(features)
    length = torch.tensor(left, device=features.device)
    if reach is None:
        return _search_all(vectors, position, length, None)
    limit = torch.tensor(reach, device=features.device)
    # Positions rise by at least one per place, so no partner is farther than `reach` places: a band is enough.
    if 2 * max(reach) >= features.shape[1]:
        return _search_all(vectors, position, length, limit)
    return _search_band(vectors, position, length, limit, max(reach))


def _search_all(vectors: Tensor, position: Tensor, length: Tensor, limit: Tensor | None) -> tuple[Tensor, Tensor]:
    a, b = vectors[:, 0::2], vectors[:, 1::2]
    odd = torch.arange(b.shape[1], device=a.device) * 2 + 1
    real = (odd < length[:, None])[:, None]
    partner, similarity = [], []
    block = max(1, BLOCK // max(1, a.shape[0] * b.shape[1]))
    for start in range(0, a.shape[1], block):
        scores = quantise(a[:, start : start + block] @ b.transpose(1, 2))
        allowed = real
        if limit is not None:
            place = position[:, 0::2][:, start : start + block]
            allowed = real & ((place[..., None] - position[:, None, 1::2]).abs() <= limit[:, None, None])
        scores = scores.masked_fill(~allowed, -torch.inf)
        partner.append(scores.argmax(2))  # the first of equals, which `max` does not promise
        similarity.append(scores.amax(2))
    return torch.cat(partner, 1) * 2 + 1, _only_real(torch.cat(similarity, 1), length)


def _search_band(vectors: Tensor, position: Tensor, length: Tensor, limit: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    a, place = vectors[:, 0::2], position[:, 0::2]
    even = torch.arange(a.shape[1], device=a.device) * 2
    best = a.new_full(a.shape[:2], -torch.inf)
    partner = torch.ones_like(place)
    reach -= 1 - reach % 2  # the largest odd offset
    for offset in range(-reach, reach + 1, 2):  # from the earliest b on, so that `>` leaves ties to it
        target = even + offset
        inside = (target >= 0) & (target < length[:, None])
        index = target.clamp(0, vectors.shape[1] - 1)
        near = inside & ((position[:, index] - place).abs() <= limit[:, None])
        scores = quantise((a * vectors[:, index]).sum(-1)).masked_fill(~near, -torch.inf)
        better = scores > best
        best, partner = torch.where(better, scores, best), torch.where(better, index, partner)
    return partner, _only_real(best, length)


def _only_real(similarity: Tensor, length: Tensor) -> Tensor:
    even = torch.arange(similarity.shape[1], device=similarity.device) * 2
    return similarity.masked_fill(even >= length[:, None], -torch.inf)


def _best_edges(similarity: Tensor, now: Tensor, wanted: Tensor) -> Tensor:
    """``(audios, A)`` bool: the edges that merge in this round."""
    exists = similarity > -torch.inf
    number = torch.minimum(now - wanted, now // 2)
    return (descending_rank(similarity, exists) < number[:, None]) & exists


def _destinations(joins: Tensor, partner: Tensor, tokens: int, now: Tensor) -> Tensor:
    """``(audios, tokens)``: the place in the next round's list of every token of this round's."""
    joined = torch.zeros(joins.shape[0], tokens, dtype=torch.bool, device=joins.device)
    joined[:, 0::2] = joins
    stays = ~joined & (torch.arange(tokens, device=joins.device) < now[:, None])
    new_place = stays.cumsum(1) - 1
    destination = new_place.clone()
    destination[:, 0::2] = torch.where(joins, new_place.gather(1, partner.clamp(max=tokens - 1)), new_place[:, 0::2])
    return destination


def _stay_in_place(position: Tensor, joins: Tensor, now: Tensor, width: int) -> Tensor:
    tokens = position.shape[1]
    stays = torch.arange(tokens, device=joins.device) < now[:, None]
    stays[:, 0::2] &= ~joins
    target = torch.where(stays, stays.cumsum(1) - 1, width)
    return position.new_zeros(position.shape[0], width + 1).scatter(1, target, position)[:, :width]


def _weighted_mean(
    features: Tensor, size: Tensor, destination: Tensor, now: Tensor, width: int
) -> tuple[Tensor, Tensor]:
    """The next round's features ``(audios, width, dim)`` and sizes ``(audios, width)``."""
    real = torch.arange(features.shape[1], device=features.device) < now[:, None]
    target = torch.where(real, destination, width)
    total = size.new_zeros(size.shape[0], width + 1).scatter_add(1, target, size)
    summed = features.new_zeros(features.shape[0], width + 1, features.shape[2])
    summed.scatter_add_(1, target[..., None].expand_as(features), features * size[..., None])
    return (summed / total.clamp(min=1)[..., None])[:, :width], total[:, :width]
