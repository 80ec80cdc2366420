"""Wider attention heads of the same effect, for models whose heads vLLM's attention on a CPU does not take.

vLLM derives the width of a head from the hidden size, so both are doubled, with zeros. What a layer computes stays the
same up to rounding:

    rotary embeddings   the base is squared, so that the first half of the frequencies are the old ones
    attention           divides by the root of the width: queries are larger by the root of 2
    RMSNorm             the mean square is halved: so are its epsilon and the square of its weights
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...errors import UnsupportedModelError

HEADS_ON_CPU = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Widths of attention heads in vLLM's build for CPUs; those for GPUs take more."""
READ = ("llama", "mistral", "qwen2")
"""Language models of which all weights are known here."""
PROJECTOR = r"multi_modal_projector\.linear"
Axes = tuple[str | None, ...]
WEIGHTS: tuple[tuple[str, Axes, float], ...] = (
    (r"(embed_tokens|lm_head|gate_proj|up_proj)\.weight", (None, "hidden"), 1),
    (r"down_proj\.weight", ("hidden", None), 1),
    (r"self_attn\.q_proj\.weight", ("head", "hidden"), math.sqrt(2)),
    (r"self_attn\.q_proj\.bias", ("head",), math.sqrt(2)),
    (r"self_attn\.[kv]_proj\.weight", ("head", "hidden"), 1),
    (r"self_attn\.[kv]_proj\.bias", ("head",), 1),
    (r"self_attn\.o_proj\.weight", ("hidden", "head"), 1),
    (r"(norm|input_layernorm|post_attention_layernorm)\.weight", ("hidden",), 1 / math.sqrt(2)),
    (rf"{PROJECTOR}(_1)?\.weight", ("hidden", None), 1),
    (rf"{PROJECTOR}_2\.weight", ("hidden", "hidden"), 1),
    (rf"{PROJECTOR}(_1|_2)?\.bias", ("hidden",), 1),
)
"""By the end of a weight's name, what each of its axes is, and the factor of its values."""
ELSEWHERE = ("audio_tower", "audio_compressor")
"""Parts before the language model, which keep their weights."""


def head_width(text_config: Any) -> int:
    """The width of an attention head."""
    return int(getattr(text_config, "head_dim", None) or text_config.hidden_size // text_config.num_attention_heads)


def doublings(text_config: Any) -> int:
    """How often the heads must be doubled until vLLM takes them everywhere.

    Raises:
        UnsupportedModelError: they cannot be.
    """
    head = head_width(text_config)
    for times in range(5):
        if head << times in HEADS_ON_CPU:
            if times:
                _check_can_be_doubled(text_config, head)
            return times
    raise UnsupportedModelError(
        f"The language model has attention heads of {head}, which vLLM's build for CPUs does not take, and no doubling "
        f"makes one of {', '.join(map(str, HEADS_ON_CPU))}."
    )


def _check_can_be_doubled(text_config: Any, head: int) -> None:
    rope = text_config.rope_parameters
    fits = (
        text_config.model_type in READ,
        head % 2 == 0 and text_config.hidden_size == head * text_config.num_attention_heads,
        rope.get("rope_type", "default") == "default" and rope.get("partial_rotary_factor", 1.0) == 1.0,
    )
    if not all(fits):
        raise UnsupportedModelError(
            f"The language model {text_config.model_type!r} has attention heads of {head}, which vLLM's build for CPUs "
            f"does not take, and cannot be rewritten with wider ones: only {', '.join(READ)} with plain rotary "
            "embeddings and a hidden size of all heads together."
        )


def doubled_settings(text_config: Any, times: int) -> dict[str, Any]:
    """What changes in the language model's config."""
    rope = dict(text_config.rope_parameters)
    rope["rope_theta"] = float(rope["rope_theta"]) ** (1 << times)
    head = {"head_dim": head_width(text_config) << times} if getattr(text_config, "head_dim", None) else {}
    return {
        "hidden_size": text_config.hidden_size << times,
        "rms_norm_eps": text_config.rms_norm_eps / (1 << times),
        "rope_parameters": rope,
        **head,
    }


def doubler(text_config: Any, times: int) -> Callable[[str, Tensor], Tensor]:
    """The function that doubles a weight, given by its name.

    Args:
        text_config: the language model's config, as it is.
        times: how often.
    """
    hidden, head = text_config.hidden_size, head_width(text_config)

    def double(name: str, weight: Tensor) -> Tensor:
        if set(name.split(".")) & set(ELSEWHERE):
            return weight
        axes, factor = _rule(name)
        for time in range(times):
            # A rotation takes a dimension of a head and that half a head further: both halves are widened.
            blocks = {"hidden": hidden << time, "head": head // 2 << time, None: 0}
            for axis, kind in enumerate(axes):
                weight = _padded(weight, axis, blocks[kind])
        return (weight.double() * factor**times).to(weight.dtype)

    return double


def _rule(name: str) -> tuple[Axes, float]:
    for pattern, axes, factor in WEIGHTS:
        if re.search(rf"(^|\.){pattern}$", name):
            return axes, factor
    raise UnsupportedModelError(
        f"The model cannot be rewritten with wider attention heads for vLLM: what its weight {name} does is not known."
    )


def _padded(weight: Tensor, axis: int, block: int) -> Tensor:
    """With as many zeros behind every block of an axis; a block of 0 leaves the axis as it is."""
    if not block:
        return weight
    before, after = weight.shape[:axis], weight.shape[axis + 1 :]
    blocks = weight.reshape(*before, -1, block, *after)
    return torch.cat([blocks, torch.zeros_like(blocks)], axis + 1).reshape(*before, -1, *after)
