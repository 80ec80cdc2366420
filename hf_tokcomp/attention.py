"""Attention received by every encoder position, block by block, from one layer's projected queries and keys.

No tokens x tokens matrix for all heads is ever held, and the encoder keeps whatever attention implementation it has:
sdpa, flash and eager give the same scores.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

BLOCK = 1 << 23
"""Scores held at once, in entries of float32 (32 MiB): queries are taken in blocks of that many."""


def attention_received(
    query: Tensor, key: Tensor, lengths: Tensor, *, heads: int, scale: float, block: int = BLOCK
) -> Tensor:
    """Softmax attention per head, summed over the valid queries, averaged over heads (arXiv 2511.14293).

    Args:
        query: ``(windows, positions, heads * head_dim)``, as the layer's query projection returns it.
        key: the same for keys.
        lengths: ``(windows,)`` valid positions; neither padding queries nor padding keys count.
        heads: attention heads.
        scale: factor on the scores, ``head_dim ** -0.5`` as a rule.
        block: most scores held at once.

    Returns:
        ``(windows, positions)`` float32; the mean over a window's valid positions is 1, padding is 0.
    """
    windows, positions, _ = query.shape
    query = _by_head(query, heads) * scale
    key = _by_head(key, heads).transpose(2, 3)
    valid = torch.arange(positions, device=query.device) < lengths[:, None]
    received = query.new_zeros(windows, positions)
    step = max(1, block // max(1, windows * heads * positions))
    for start in range(0, positions, step):
        # Masked, not added or multiplied away: padding may hold NaN, and so does the softmax of an empty window.
        scores = (query[:, :, start : start + step] @ key).masked_fill_(~valid[:, None, None], -torch.inf)
        weights = scores.softmax(-1).mean(1)
        received += weights.masked_fill_(~valid[:, start : start + step, None], 0).sum(1)
    return received.nan_to_num_().masked_fill_(~valid, 0)


def pool_pairs(values: Tensor) -> Tensor:
    """Average the two 50 Hz positions of each 25 Hz token, ``(windows, positions, ...)`` to ``(windows, tokens, ...)``.

    A trailing odd position has no token; it counted as a query only (our reading).
    """
    tokens = values.shape[1] // 2
    pairs = values[:, : 2 * tokens].reshape(values.shape[0], tokens, 2, *values.shape[2:])
    return pairs.mean(2)


def keys_of_tokens(key: Tensor, heads: int) -> Tensor:
    """``(windows, positions, heads * head_dim)`` to ``(windows, tokens, head_dim)``: mean over heads and over pairs."""
    return pool_pairs(_by_head(key, heads).mean(1))


def _by_head(states: Tensor, heads: int) -> Tensor:
    windows, positions, dim = states.shape
    return states.float().view(windows, positions, heads, dim // heads).transpose(1, 2)


@contextmanager
def recorded_outputs(**modules: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Keep the detached outputs of these modules while the block runs; their names are the dict's keys.

    Only calls of this thread count: another one may be running the same model at the same time.
    """
    outputs: dict[str, Tensor] = {}
    here = threading.get_ident()

    def keep(name: str, _module: nn.Module, _args: Any, output: Tensor) -> None:
        if threading.get_ident() == here:
            outputs[name] = output.detach()

    handles = [module.register_forward_hook(functools.partial(keep, name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
