"""Bipartite merging in rounds, after ToMe (ICLR 2023), with or without a temporal window (arXiv 2605.25179).

Only the paper's abstract was available; the following is our reading. In a round the remaining tokens alternate between
A (even places in the list) and B (odd places). Every a finds its most similar b, by the cosine of the
current features, among those at most `window` original tokens away; ties go to the earlier b. The best
``min(N - K, floor(N / 2))`` edges merge, ties to the earlier a, fewer if fewer exist; several a may join one b. The
merged token is the mean of its members and keeps b's position. If a round finds no edge, the window doubles and stays
doubled. Rounds continue until K tokens are left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .assignment import Assignment, sum_per_slot
from .audio_tokens import AudioTokens
from .device import on_device
from .ranking import descending_rank
from .similarity import STEPS, finite, unit

BLOCK = 1 << 22
"""Similarities held at once: the search goes through A in blocks of this many entries."""


def merge_in_rounds(tokens: AudioTokens, vectors: Tensor, counts: list[int], window: int | None) -> Assignment:
    """Merge each audio down to ``counts[i]`` tokens.

    Args:
        tokens: the batch.
        vectors: ``(audios, tokens, dim)``, what is compared; averaged from round to round, in float32.
        counts: tokens wanted for each audio, fewer than it has.
        window: farthest two tokens may be apart, in original tokens; None for no limit.
    """
    device = tokens.features.device
    features = finite(vectors)  # with a NaN cosine, no edge would ever be found
    position = torch.arange(features.shape[1], device=device).expand(features.shape[:2])
    size = tokens.mask.float()
    slot = torch.where(tokens.mask, position, -1)
    # No window is wider than the audio, whatever number was given.
    reach = None if window is None else [min(window, features.shape[1])] * len(counts)
    left, wanted = list(tokens.counts), on_device(counts, device)
    while left != counts:
        now = on_device(left, device)
        destination, joins = _round(features, position, left, now, reach, wanted)
        # Without a window every a has a partner, so the number of merges is known; with one it is read once per round.
        before, left = left, [max(k, n - n // 2) for n, k in zip(left, counts, strict=True)]
        if reach is not None:
            left = (now - joins.sum(1)).tolist()
        width = max(left)
        slot = torch.where(slot >= 0, destination.gather(1, slot.clamp(min=0)), -1)
        position = _stay_in_place(position, joins, now, width)
        if left == counts:
            break
        features, size = _weighted_mean(features, size, destination, now, width)
        if reach is not None:
            stuck = [a == b and b > k for a, b, k in zip(before, left, counts, strict=True)]
            reach = [2 * r if s else r for r, s in zip(reach, stuck, strict=True)]
    return Assignment.mean(slot, wanted, max(counts), position)


def one_round(vectors: Tensor, left: list[int], wanted: list[int]) -> Tensor:
    """A single round without a window: the place of each token in the resulting list.

    Args:
        vectors: ``(audios, tokens, dim)``, what is compared.
        left: tokens of each audio.
        wanted: tokens each audio should have afterwards, at least half as many.

    Returns:
        ``(audios, tokens)`` the token's place; -1 for padding.
    """
    now, then = (on_device(counts, vectors.device) for counts in (left, wanted))
    place = torch.arange(vectors.shape[1], device=vectors.device)
    destination, _ = _round(finite(vectors), place.expand(vectors.shape[:2]), left, now, None, then)
    return torch.where(place < now[:, None], destination, -1)


def _round(
    features: Tensor, position: Tensor, left: list[int], now: Tensor, reach: list[int] | None, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """``(audios, tokens)`` the place of every token after a round, and ``(audios, A)`` which a joined their b."""
    partner, similarity = best_partners(features, position, left, reach)
    joins = _best_edges(similarity, now, wanted)
    return _destinations(joins, partner, features.shape[1], now), joins


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
    length = on_device(left, features.device)
    if reach is None:
        return _search_all(vectors, position, length, None)
    limit = on_device(reach, features.device)
    # Positions rise by at least one per place, so no partner is more than `reach` places away: a band is enough.
    if 2 * max(reach) >= features.shape[1]:
        return _search_all(vectors, position, length, limit)
    return _search_band(vectors, position, length, limit, max(reach))


def _search_all(vectors: Tensor, position: Tensor, length: Tensor, limit: Tensor | None) -> tuple[Tensor, Tensor]:
    a, b = vectors[:, 0::2], vectors[:, 1::2].transpose(1, 2)
    odd = torch.arange(b.shape[2], device=a.device) * 2 + 1
    closed = (odd >= length[:, None])[:, None]
    partner, similarity = [], []
    block = max(1, BLOCK // max(1, a.shape[0] * b.shape[2]))
    for start in range(0, a.shape[1], block):
        far = closed
        if limit is not None:
            place = position[:, 0::2][:, start : start + block]
            far = closed | ((place[..., None] - position[:, None, 1::2]).abs() > limit[:, None, None])
        best, score = _best(a[:, start : start + block], b, far)
        partner.append(best)
        similarity.append(score)
    return torch.cat(partner, 1) * 2 + 1, _only_real(torch.cat(similarity, 1), length)


def _search_band(vectors: Tensor, position: Tensor, length: Tensor, limit: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Like `_search_all`, but every stretch of A is compared only with the stretch of B around it."""
    audios, tokens = vectors.shape[:2]
    side = (reach + 1) // 2  # number of b within reach on either side
    stretch = max(32, 2 * side)
    number = -(-((tokens + 1) // 2) // stretch)
    fill = 2 * number * stretch - tokens
    vectors = torch.nn.functional.pad(vectors, (0, 0, 0, fill))
    place = torch.nn.functional.pad(position, (0, fill)).view(audios, -1, 2)
    a = vectors[:, 0::2].reshape(audios, number, stretch, -1)
    b = torch.nn.functional.pad(vectors[:, 1::2], (0, 0, side, side)).unfold(1, stretch + 2 * side, stretch)
    at_a = place[..., 0].reshape(audios, number, stretch)
    at_b = torch.nn.functional.pad(place[..., 1], (side, side)).unfold(1, stretch + 2 * side, stretch)
    index = torch.arange(-side, number * stretch + side, device=vectors.device).unfold(0, stretch + 2 * side, stretch)
    real = (index >= 0) & (2 * index + 1 < length[:, None, None])
    partner, similarity = [], []
    block = max(1, BLOCK // (audios * stretch * (stretch + 2 * side)))
    for start in range(0, number, block):
        part = slice(start, start + block)
        far = ~real[:, part, None] | ((at_a[:, part, :, None] - at_b[:, part, None]).abs() > limit[:, None, None, None])
        best, score = _best(a[:, part].flatten(0, 1), b[:, part].flatten(0, 1), far.flatten(0, 1))
        partner.append(best.view(audios, -1, stretch) + index[part, :1])
        similarity.append(score.view(audios, -1, stretch))
    length_of_a = (tokens + 1) // 2
    best, score = (torch.cat(parts, 1).flatten(1)[:, :length_of_a] for parts in (partner, similarity))
    return (best * 2 + 1).clamp(min=1), _only_real(score, length)  # without a partner the index is arbitrary


def _best(a: Tensor, b: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
    """The most similar b of every a, the first of equals, and their quantised similarity; -inf where all are far.

    Args:
        a: ``(batch, A, dim)`` unit vectors.
        b: ``(batch, dim, B)`` unit vectors.
        far: ``(batch, 1 or A, B)`` what may not be chosen.
    """
    # `quantise`, in place: multiplying by a power of two is exact, so it may come first and be undone for the best.
    scores = torch.matmul(a * STEPS, b).round_().masked_fill_(far, -torch.inf)
    best = scores.argmax(2, keepdim=True)  # the first of equals, which `max` does not guarantee
    return best[..., 0], scores.gather(2, best)[..., 0] / STEPS


def _only_real(similarity: Tensor, length: Tensor) -> Tensor:
    even = torch.arange(similarity.shape[1], device=similarity.device) * 2
    return similarity.masked_fill(even >= length[:, None], -torch.inf)


def _best_edges(similarity: Tensor, now: Tensor, wanted: Tensor) -> Tensor:
    """``(audios, A)`` bool: the edges that merge in this round."""
    exists = similarity > -torch.inf
    number = torch.minimum(now - wanted, now // 2)
    return (descending_rank(similarity, exists) < number[:, None]) & exists


def _destinations(joins: Tensor, partner: Tensor, tokens: int, now: Tensor) -> Tensor:
    """``(audios, tokens)``: every token's place in the next round's list."""
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
    target = torch.where(real, destination, -1)
    total = sum_per_slot(size[..., None], target, width)
    return sum_per_slot(features * size[..., None], target, width).div_(total.clamp(min=1)), total[..., 0]
