"""How many requests fit into the key-value cache of a GPU, from the sizes of a model: nothing is measured.

``python -m hf_tokcomp.benchmarks.serving.memory docs/serving.md`` writes the tables of that page.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...config.config import CompressionConfig
from ...config.notation import ratio_name
from ...reporting.pages import Table, as_markdown, fill_place
from ..speed.architectures import sizes_of
from .bounds import blocks_needed, most_at_once
from .subject import ServedModel, random_model, tokens_of
from .work import Weightless

BEGIN = "<!-- begin: written by python -m hf_tokcomp.benchmarks.serving.memory -->"
BFLOAT16 = 2
"""Bytes of a value."""
MODELS = {"qwen2-audio-7b": "Qwen2-Audio 7B", "audio-flamingo-3": "Audio Flamingo 3"}
RATIOS = (1.0, 1 / 2, 1 / 4, 1 / 10)
GPUS = (24, 48, 80)
"""GB of memory."""


@dataclass(frozen=True)
class Assumed:
    """What an engine is assumed to do.

    Args:
        share: share of the GPU's memory that it takes, vLLM's ``gpu_memory_utilization``.
        working: bytes for activations and everything else that is neither weights nor cache. It is set, not computed:
            vLLM measures it when it starts.
        block_size: tokens in a block, vLLM's default on a GPU.
        text: tokens of a prompt beside the audio.
        answer: tokens of an answer.
    """

    share: float = 0.9
    working: float = 2e9
    block_size: int = 16
    text: int = 30
    answer: int = 100


def token_bytes(text_config: Any) -> int:
    """Bytes of the keys and values of a token in all layers, in bfloat16.

    Args:
        text_config: transformers' config of the language model.
    """
    heads = text_config.num_attention_heads
    width = getattr(text_config, "head_dim", None) or text_config.hidden_size // heads
    return int(2 * text_config.num_hidden_layers * text_config.num_key_value_heads * width * BFLOAT16)


def blocks_that_fit(gpu_bytes: float, weight_bytes: float, block_bytes: float, assumed: Assumed) -> int:
    """Blocks for which a GPU has room beside the weights; 0 if there is none."""
    return max(0, int((assumed.share * gpu_bytes - weight_bytes - assumed.working) // block_bytes))


def memory_table(model: ServedModel, title: str, assumed: Assumed, gpus: Sequence[int] = GPUS) -> Table:
    """How many clips of one window are in the cache at once, by ratio and GPU.

    Args:
        model: the model.
        title: its name in the title.
        assumed: what the engine does.
        gpus: memory of each GPU in GB.
    """
    weights = BFLOAT16 * Weightless(model.config, model.patch).parameters
    each = token_bytes(model.config.get_text_config())
    tokens = tokens_of(model.patch, model.audio(model.window_seconds))
    rows = []
    for ratio in RATIOS:
        config = CompressionConfig(method="average_pooling", retention_ratio=ratio)
        request = config.output_length(tokens, model.patch.frame_rate) + assumed.text + assumed.answer
        blocks = [blocks_that_fit(1e9 * gpu, weights, each * assumed.block_size, assumed) for gpu in gpus]
        fit = [str(most_at_once(number, request, assumed.block_size)) for number in blocks]
        rows.append([ratio_name(ratio), str(request), str(blocks_needed(request, assumed.block_size)), *fit])
    columns = ("ratio", "tokens", "blocks", *(f"{gpu} GB" for gpu in gpus))
    sizes = f"weights {weights / 1e9:.1f} GB, {each / 1024:g} KiB a token"
    return Table(f"{title}: {sizes}", columns, rows)


def page() -> str:
    """The tables of docs/serving.md."""
    found = [memory_table(random_model(name, sizes_of(name)), title, Assumed()) for name, title in MODELS.items()]
    return as_markdown(found, [])


if __name__ == "__main__":
    fill_place(Path(sys.argv[1]), BEGIN, page())
