"""speechprune: first tokens that match the question, then those that speech itself attends to (arXiv 2412.12009)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config.checks import option
from ..config.config import CompressionConfig
from ..ops.assignment import Assignment
from ..ops.attention import attention_received
from ..ops.audio_tokens import AudioTokens, FirstLayer
from ..ops.device import on_device
from ..ops.ranking import descending_rank, invert
from ..ops.similarity import quantise, unit
from .base import AudioTokenCompressor, register_compressor

PHASE1_TOKENS = 750


@dataclass(frozen=True, kw_only=True)
class SpeechPruneConfig(CompressionConfig):
    """Config of SpeechPrune.

    Example:
        >>> model = hf_tokcomp.patch(model, hf_tokcomp.SpeechPruneConfig(retention_ratio=0.5))
        >>> answer = model.generate(**inputs)
        >>> model.audio_compressor.last.tokens_after
        [64]
    """

    method: str = "speechprune"
    phase1_tokens: int | None = option(
        None,
        at_least=1,
        help="tokens that the first phase keeps. None for 750 where there are more (as the paper has it), and else for "
        "the geometric mean of N and K (our reading)",
    )
    frame_seconds: float = option(1.0, above=0, help="length of the frames that share these tokens; 1 s in the paper")

    def left_by_phase1(self, n: int, k: int) -> int:
        """How many of ``n`` tokens the first phase keeps for a budget of ``k``."""
        wanted = self.phase1_tokens
        if wanted is None:
            wanted = PHASE1_TOKENS if n > PHASE1_TOKENS else math.floor(math.sqrt(n * k) + 0.5)
        return max(k, min(n, wanted))


@register_compressor(SpeechPruneConfig)
class SpeechPrune(AudioTokenCompressor[SpeechPruneConfig]):
    """Keeps what fits the question's words, then what other speech tokens attend to.

    Source: arXiv 2412.12009; there is no public code. Phase 1: f_i is the mean cosine of a projected token with the
    question's words; frames of 1 s share the n1 tokens by the softmax over the frames' sums of f, rounded down, and
    keep those of largest f. Phase 2: queries and keys from the signs of the language model's first-layer weights and
    the signs of the projected tokens; kept are the K tokens with the largest mean attention received. The paper's
    formula averages over the axis where every row gives 1/N; we take the other one (reading).

    Further readings: tokens lost to rounding, or that do not fit into a frame, go one at a time to the frames in
    decreasing order of their share, skipping full ones. Keys are repeated for grouped-query models; there is no norm,
    bias, rotary position or causal mask; the sign of 0 is positive. The question is the last user turn without special
    tokens and placeholders, including text that the chat template adds to it; without one, phase 1 is skipped. Phase 2
    reads the questions' lengths from the device.
    """

    family = "pruning"
    source = "arXiv 2412.12009"
    requires = frozenset({"projected", "query", "first_layer"})

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        projected, query = tokens.need("projected"), tokens.need("query")
        layer: FirstLayer = tokens.need("first_layer")  # type: ignore[assignment]
        words = [query.shape[1]] * len(counts) if tokens.query_lengths is None else tokens.query_lengths.tolist()
        left = [
            self.config.left_by_phase1(n, k) if asked else n
            for n, k, asked in zip(tokens.counts, counts, words, strict=True)
        ]
        rank = torch.arange(projected.shape[1], device=projected.device).expand(projected.shape[:2])
        if left != tokens.counts:
            rank = self._phase1(tokens, projected, _mean_word(query, words), left)
        # The remaining tokens come first, in temporal order, so that the second phase is as narrow as possible.
        kept = rank < on_device(left, rank.device)[:, None]
        place = invert((~kept).to(torch.uint8).argsort(dim=1, stable=True))
        order = invert(place)[:, : max(left)]
        received = _received(projected.gather(1, order[..., None].expand(-1, -1, projected.shape[2])), layer, left)
        length = on_device(left, rank.device)
        best = descending_rank(received, torch.arange(order.shape[1], device=rank.device) < length[:, None])
        lengths = on_device(counts, rank.device)
        chosen = torch.zeros_like(kept).scatter(1, order, best < lengths[:, None])
        return Assignment.keep(chosen & tokens.mask, lengths, max(counts))

    def _phase1(self, tokens: AudioTokens, projected: Tensor, word: Tensor, left: list[int]) -> Tensor:
        """``(audios, tokens)``: the rank of every token; the first ``left[i]`` are kept."""
        fit = quantise((unit(projected) * word[:, None]).sum(-1))
        fit = torch.where(tokens.mask & ~fit.isnan(), fit, 0)
        width, device = fit.shape[1], fit.device
        rates = tokens.known_rates("frame_seconds")
        sizes = [max(1, round(min(self.config.frame_seconds * rate, width))) for rate in rates]
        size = on_device(sizes, device)[:, None]
        index = torch.arange(width, device=device)
        frame = index // size
        frames = -(-width // min(sizes))
        total = fit.new_zeros(len(sizes), frames, dtype=torch.float64).scatter_add(1, frame, fit.double())
        room = torch.zeros(len(sizes), frames, dtype=torch.long, device=device).scatter_add(
            1, frame, tokens.mask.long()
        )
        share = total.masked_fill(room == 0, -torch.inf).softmax(1)
        given = _share_out(share, room, on_device(left, device), max(sizes))
        # A token's place within its frame, by decreasing fit; frames are consecutive.
        order = invert(descending_rank(fit, tokens.mask))
        order = order.gather(1, frame.gather(1, order).argsort(dim=1, stable=True))
        stays = (invert(order) - frame * size < given.gather(1, frame)) & tokens.mask
        return invert((~stays).to(torch.uint8).argsort(dim=1, stable=True))


def _mean_word(query: Tensor, words: list[int]) -> Tensor:
    """``(audios, hidden)``: the mean of the words' unit vectors; its product with a unit vector is the mean cosine."""
    count = on_device(words, query.device)[:, None]
    real = torch.arange(query.shape[1], device=query.device) < count
    return torch.where(real[..., None], unit(query), 0).sum(1) / count.clamp(min=1)


def _share_out(share: Tensor, room: Tensor, total: Tensor, largest: int) -> Tensor:
    """``(audios, frames)``: tokens per frame, floor(total * share), then one at a time by decreasing share."""
    given = torch.minimum((total[:, None] * share + 1e-9).floor().long(), room)
    free = room - given
    missing = total - given.sum(1)
    # All full rounds at once: in t rounds a frame takes min(free, t).
    rounds = torch.arange(largest + 1, device=share.device)
    taken = torch.minimum(free[..., None], rounds).sum(1)
    whole = (taken <= missing[:, None]).sum(1, keepdim=True) - 1
    given = given + torch.minimum(free, whole)
    missing = missing - taken.gather(1, whole)[:, 0]
    open_ = free > whole
    place = descending_rank(share, open_)
    return given + ((place < missing[:, None]) & open_)


def _received(projected: Tensor, layer: FirstLayer, lengths: list[int]) -> Tensor:
    """``(audios, tokens)``: the attention that each token receives in the sign-binarised first layer."""
    states = _sign(projected)
    query, key = (states @ _sign(weight).to(states.device).T for weight in (layer.query, layer.key))
    dim = query.shape[-1] // layer.heads
    key = key.view(*key.shape[:2], layer.key_heads, dim)
    key = key.repeat_interleave(layer.heads // layer.key_heads, 2).flatten(2)
    length = on_device(lengths, states.device)
    return quantise(attention_received(query, key, length, heads=layer.heads, scale=dim**-0.5))


def _sign(values: Tensor) -> Tensor:
    return torch.where(values < 0, -1.0, 1.0)
