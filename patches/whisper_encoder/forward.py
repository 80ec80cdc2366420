"""The forward of Whisper-type encoders on fewer positions than upstream's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...config.encoder_options import EncoderOptions
from ...errors import CompressionConfigError
from ...models.encoder.merging import MergedPositions, positions_left, restored
from ...ops.attention import mean_over_heads, recorded_outputs
from ...ops.device import on_device

SEEN_BEYOND = 2
"""Mel frames after the last valid one that its encoder position depends on: one per convolution."""


def run_on_sound(
    tower: Any, features: Tensor, frames: list[int], options: EncoderOptions
) -> tuple[Tensor, Tensor | None]:
    """The encoder's last hidden state ``(windows, tokens, dim)``.

    Upstream's encoders accept only whole windows, so their `forward` is reimplemented here. Padding is masked in every
    layer, so the tokens of the sound are the same for any amount of padding.

    Args:
        tower: the encoder.
        features: ``(windows, mel bins, frames)``, up to the end, or up to `SEEN_BEYOND` frames after the longest
            window's last valid frame.
        frames: number of valid frames in each window.
        options: with ``stride``, a token's two positions are averaged before the layers rather than after them, so a
            trailing odd position is not read; with ``merge``, positions merge between layers.

    Returns:
        The tokens, and ``(windows, positions)``, the index in the last layer of each position, at 50 per second; None
        if every position keeps its own index.
    """
    weight = tower.conv1.weight
    features = features.to(weight.dtype) if weight.is_meta else features.to(weight.device, weight.dtype)
    states = nn.functional.gelu(tower.conv1(features))
    states = nn.functional.gelu(tower.conv2(states)).transpose(1, 2)
    states = states + tower.embed_positions(torch.arange(states.shape[1], device=states.device)).to(states.dtype)
    states = nn.functional.dropout(states, p=tower.dropout, training=tower.training)
    counts = [((n - 1) // 2 + 1) // options.stride for n in frames]
    if options.stride > 1:
        states = _pooled(tower, states)
    merged = MergedPositions.separate(counts, states.shape[1], states.device)
    if options.merge:
        states = restored(_merged_through_layers(tower, states, merged, options.merge), merged.place)
    else:
        states = _through_layers(tower, states, counts)
    if options.stride == 1:
        states = _pooled(tower, states)
    return tower.layer_norm(states), merged.place.repeat_interleave(options.stride, 1) if options.reduces else None


def _pooled(tower: Any, states: Tensor) -> Tensor:
    return tower.avg_pooler(states.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]


def _through_layers(tower: Any, states: Tensor, counts: list[int]) -> Tensor:
    """The states ``(windows, positions, dim)`` after the last layer."""
    valid = torch.arange(states.shape[1], device=states.device) < on_device(counts, states.device)[:, None]
    from transformers.masking_utils import create_bidirectional_mask  # takes a second to import, so not at the top

    mask = create_bidirectional_mask(config=tower.config, inputs_embeds=states, attention_mask=valid.long())
    for layer in tower.layers:
        if not (tower.training and tower.layerdrop > 0 and torch.rand([]) < tower.layerdrop):
            states = layer(states, mask)
    return states


def _merged_through_layers(tower: Any, states: Tensor, merged: MergedPositions, share: float) -> Tensor:
    """The same, with this fraction of the positions merged between layers and tracked in ``merged``."""
    *layers, last = tower.layers
    plans = [positions_left(n, share, len(layers)) for n in merged.left]
    for number, layer in enumerate(layers):
        attention = layer.self_attn
        with recorded_outputs(key=attention.k_proj) as recorded:
            states = layer(states, merged.mask(states.dtype))
        keys = mean_over_heads(recorded["key"], attention.num_heads)
        states = merged.merge(states, keys, [plan[number] for plan in plans])
    return last(states, merged.mask(states.dtype))  # type: ignore[no-any-return]


def check_merging(tower: Any) -> None:
    """Raise if positions cannot merge between the layers of this encoder in its current state.

    Raises:
        CompressionConfigError: it has one layer, its attention accepts no size weights, or training skips layers.
    """
    attention = tower.config._attn_implementation
    if len(tower.layers) < 2:
        raise CompressionConfigError("encoder_merge needs an encoder of two layers or more; leave it out.")
    if attention not in ("sdpa", "eager"):
        raise CompressionConfigError(
            f"encoder_merge weighs the encoder's attention by size, which {attention!r} cannot: load the model with "
            "attn_implementation={'audio_config': 'sdpa'}, or leave encoder_merge out."
        )
    if tower.training and tower.layerdrop > 0:
        raise CompressionConfigError(
            "encoder_merge needs every layer of the encoder. Set `model.config.audio_config.encoder_layerdrop = 0` "
            "(and `model.model.audio_tower.layerdrop = 0`), or leave encoder_merge out."
        )
