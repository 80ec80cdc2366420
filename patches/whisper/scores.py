"""What methods ask of the last layer of a Whisper-type encoder, read off its queries and keys."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...models.base import EncodedWindows
from ...ops.attention import Reduction, attention_received, attention_to_self, keys_of_tokens, pool_pairs

RECEIVED: dict[str, Reduction] = {"attention": "mean", "attention_max": "max", "attention_peak": "peak"}
"""Fields with attention received, by what is made of the heads.

A token's value is the average of its two 50 Hz positions. Under "peak" that is the sum over its two keys of the average
over each two queries, too: half of a double sum either way.
"""
READ = frozenset({*RECEIVED, "attention_self", "keys"})
"""All that is read."""


def add_scores(
    encoded: EncodedWindows, needs: frozenset[str], attention: Any, query: Tensor, key: Tensor, positions: Tensor
) -> None:
    """Fill in what is asked for.

    Args:
        encoded: where it goes.
        needs: which of `READ`.
        attention: the layer's attention, for its heads and scale.
        query: ``(windows, positions, dim)``.
        key: ``(windows, positions, dim)``.
        positions: ``(windows,)`` long, those with sound.
    """
    sizes = {"heads": attention.num_heads, "scale": attention.scaling}
    for name in sorted(needs & RECEIVED.keys()):
        setattr(encoded, name, pool_pairs(attention_received(query, key, positions, reduction=RECEIVED[name], **sizes)))
    if "attention_self" in needs:
        encoded.attention_self = attention_to_self(query, key, positions, **sizes)
    if "keys" in needs:
        encoded.keys = keys_of_tokens(key, attention.num_heads)
