"""The usual way to get attention scores, as a baseline: eager attention in the encoder, one clip at a time.

Only used in the benchmark. It represents code that uses the weights returned by eager attention: it cannot use a fused
kernel, computes a matrix of all positions by all positions for every head, and reads the scores of one clip. Avoidable
cost is avoided: only the encoder is eager, and only the weights of the last layer are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ...config.config import CompressionConfig
from ...config.encoder_options import EncoderOptions
from ...models.base import ModelPatch
from ...ops.attention import pool_positions


@contextmanager
def eager_encoder(model: Any) -> Iterator[None]:
    """Use eager attention in the encoder within the ``with`` block."""
    before = model.config.audio_config._attn_implementation
    model.set_attn_implementation({"audio_config": "eager"})
    try:
        yield
    finally:
        model.set_attn_implementation({"audio_config": before})


def generate_by_scores(model: Any, patch: ModelPatch, inputs: dict[str, Any], ratio: float, **options: Any) -> Any:
    """Run `generate` on the tokens of one clip that receive the most attention in the encoder's last layer.

    It keeps the same tokens as `top_k`. Call it within `eager_encoder`.

    Args:
        model: an unpatched model.
        patch: the patch of the model.
        inputs: the inputs for one prompt with one clip.
        ratio: fraction of its tokens to keep.
        options: arguments of upstream's `generate`.

    Returns:
        What upstream's `generate` returns for embeddings.
    """
    weights: list[Tensor] = []
    layer = patch.parts(model).last_attention
    handle = layer.register_forward_hook(lambda module, given, returned: weights.append(returned[1]))
    windows = patch.windows_of(inputs)
    frames = windows.frames
    whole_windows = EncoderOptions(skip_padding=False)
    try:
        encoded = patch.encode(model, windows, frozenset(), whole_windows).features
    finally:
        handle.remove()
    received = pool_positions(_received(weights[0], frames))
    counts = [patch.window_tokens(n) for n in frames]
    features = torch.cat([window[:n] for window, n in zip(encoded, counts, strict=True)])
    scores = torch.cat([window[:n] for window, n in zip(received, counts, strict=True)])
    kept = CompressionConfig(method="top_k", retention_ratio=ratio).output_length(sum(counts))
    chosen = scores.topk(kept).indices.sort().values
    audio = patch.project(model, features[chosen][None])
    embeds = model.get_input_embeddings()(inputs["input_ids"])
    places = (inputs["input_ids"][0] == patch.audio_token_id(model)).nonzero().flatten()
    first, behind = int(places[0]), int(places[-1]) + 1
    short = torch.cat([embeds[:, :first], audio.to(embeds.dtype), embeds[:, behind:]], 1)
    whole = torch.ones(short.shape[:2], dtype=torch.long, device=short.device)
    return model.generate(inputs_embeds=short, attention_mask=whole, **options)


def _received(weights: Tensor, frames: list[int]) -> Tensor:
    """``(windows, positions)``: attention each position receives from non-padding positions, averaged over heads."""
    positions = torch.tensor([(n - 1) // 2 + 1 for n in frames], device=weights.device)
    queries = torch.arange(weights.shape[2], device=weights.device) < positions[:, None]
    return (weights.float().mean(1) * queries[..., None]).sum(1)
