"""What the blocks of a key-value cache and the operations of a request allow: arithmetic, with nothing measured."""

from __future__ import annotations

import math
from collections.abc import Mapping

WORK = ("encoder", "projector", "prefill", "decode")
"""The parts of a request whose operations are counted."""


def blocks_needed(tokens: int, block_size: int) -> int:
    """Blocks of the cache that a request holds at its end.

    Args:
        tokens: tokens of the prompt and the answer.
        block_size: tokens in a block.
    """
    return math.ceil(tokens / block_size)


def most_at_once(blocks: int, tokens: int, block_size: int) -> int:
    """How many requests can be in the cache at once, to their last token: one block is never given away.

    Args:
        blocks: blocks of the cache.
        tokens: tokens of the prompt and the answer of each request.
        block_size: tokens in a block.
    """
    return max(0, (blocks - 1) // blocks_needed(tokens, block_size))


def speedup_allowed(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """How many times as many requests a second the operations allow, if each takes the same time before and after.

    Args:
        before: operations of an uncompressed request, by part.
        after: operations of a compressed one.
    """
    return sum(before[part] for part in WORK) / sum(after[part] for part in WORK)
