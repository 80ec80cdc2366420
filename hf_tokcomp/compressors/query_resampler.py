"""query_resampler: a query per slot attends to the tokens around it (after arXiv 2301.12597 and arXiv 2310.13289)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config.checks import option
from ..ops.assignment import sum_per_slot
from .base import register_compressor
from .learned import EqualStretches, LearnedCompressor, LearnedConfig, softmax_per_slot, starts_at_zero


@dataclass(frozen=True, kw_only=True)
class QueryResamplerConfig(LearnedConfig):
    """Config of the query resampler.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.QueryResamplerConfig(retention_ratio=0.25))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [32]
    """

    method: str = "query_resampler"
    heads: int = option(8, at_least=1, at_most=64, help="attention heads")
    head_dim: int = option(
        64, at_least=1, at_most=256, help="width of a head; all of them together are the width of the attention"
    )
    context: int = option(
        1, at_least=0, at_most=8, help="slots to either side whose tokens a query sees beside those of its own slot"
    )


@register_compressor(QueryResamplerConfig)
class QueryResampler(LearnedCompressor[QueryResamplerConfig]):
    """Learns a query for each of K equal stretches, which attends to the tokens in and around it.

    Source: after the Q-Former of BLIP-2, arXiv 2301.12597, which SALMONN, arXiv 2310.13289, applies to audio window by
    window. Those have a fixed number of queries, each with its own weights. Ours has one query for all slots, which
    depends on the mean of the slot's tokens and the slot's place in the audio, so the same weights serve every budget;
    and one layer of attention instead of a small transformer. Scores also have a learned term for the token's distance
    from the middle of the slot, in slots. The result is added to the mean, and both additions start at zero: before
    training the features are exactly those of `average_pooling`. All of this is our choice.
    """

    source = "after arXiv 2301.12597, arXiv 2310.13289"

    def __init__(self, config: QueryResamplerConfig, dim: int) -> None:
        super().__init__(config, dim)
        width = config.heads * config.head_dim
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        self.place = nn.Parameter(torch.randn(width) * 0.02)
        self.distance = nn.Parameter(torch.zeros(2, config.heads))
        self.mean_norm = nn.LayerNorm(dim)
        self.token_norm = nn.LayerNorm(dim)
        self.to_query = nn.Linear(dim, width, bias=False)
        # A bias of the keys would be the same for all tokens of a query, and cancel in the softmax.
        self.to_key = nn.Linear(dim, width, bias=False)
        self.to_value = nn.Linear(dim, width)
        self.attended = nn.Linear(width, dim)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * width), nn.GELU(), nn.Linear(2 * width, dim)
        )
        starts_at_zero(self.attended)
        starts_at_zero(self.feed_forward[-1])

    def resample(self, features: Tensor, stretches: EqualStretches, dtype: torch.dtype) -> Tensor:
        mean = stretches.mean(features)
        # From -1 at the beginning of an audio to 1 at its end.
        place = (2 * stretches.index + 1) / stretches.after.clamp(min=1) - 1
        query = self.query + place[..., None].to(dtype) * self.place + self.to_query(self.mean_norm(mean.to(dtype)))
        seen = self.token_norm(features.to(dtype))
        found = self._attend(
            self._heads(query), self._heads(self.to_key(seen)), self._heads(self.to_value(seen)), stretches
        )
        mean = mean + self.attended(found.to(dtype))
        return mean + self.feed_forward(mean.to(dtype))  # type: ignore[no-any-return]

    def _heads(self, values: Tensor) -> Tensor:
        """``(audios, n, heads * head_dim)`` to ``(audios, n, heads, head_dim)`` in float32 (or wider)."""
        wide = values.to(torch.promote_types(values.dtype, torch.float32))
        return wide.view(*values.shape[:2], self.config.heads, self.config.head_dim)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, stretches: EqualStretches) -> Tensor:
        """Attention of each slot's query to the tokens in its own slot and the slots around it.

        Scores are kept per token and neighbouring slot, ``(audios, tokens, 2 * context + 1, heads)``: a matrix of all
        slots by all tokens would be nearly empty.

        Args:
            query: ``(audios, slots, heads, head_dim)``, float32 like the others.
            key: ``(audios, tokens, heads, head_dim)``.
            value: ``(audios, tokens, heads, head_dim)``.
            stretches: which token belongs to which slot.

        Returns:
            ``(audios, slots, heads * head_dim)``.
        """
        context = self.config.context
        own = stretches.slot[..., None] + torch.arange(-context, context + 1, device=stretches.slot.device)
        own = torch.where((stretches.slot[..., None] >= 0) & (own >= 0) & (own < stretches.after[..., None]), own, -1)
        scores = []
        for way in own.unbind(-1):
            asking = query.gather(1, way.clamp(min=0)[..., None, None].expand_as(key))
            scores.append((asking * key).sum(-1))
        middle = (torch.arange(key.shape[1], device=own.device) + 0.5) * stretches.after / stretches.before.clamp(min=1)
        away = middle[..., None] - own - 0.5
        away = away[..., None].to(key.dtype)
        distance = away * self.distance[0] + away.abs() * self.distance[1]
        score = torch.stack(scores, 2) * key.shape[-1] ** -0.5 + distance
        weight = softmax_per_slot(score.flatten(1, 2), own.flatten(1, 2), stretches.width)
        shares = weight.view_as(score).unbind(2)
        found = torch.zeros_like(query).flatten(2)
        for way, share in zip(own.unbind(-1), shares, strict=True):
            found = found + sum_per_slot((share[..., None] * value).flatten(2), way, stretches.width)
        return found
