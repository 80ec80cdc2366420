"""The forward of Whisper-type encoders without the padding behind the sound."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

SEEN_BEYOND = 2
"""Mel frames beyond the last valid one that its encoder position looks at: one for each convolution."""


def run_on_sound(tower: Any, features: Tensor, mask: Tensor) -> Tensor:
    """The encoder's last hidden state ``(windows, tokens, dim)`` for windows without the padding behind them.

    Upstream's encoders take whole windows only, so what their `forward` does is written out here. Padding is masked in
    every layer, hence the tokens of the sound are the same.

    Args:
        tower: the encoder.
        features: ``(windows, mel bins, frames)``, up to the longest window's last valid frame and `SEEN_BEYOND` more.
        mask: ``(windows, all frames)``.
    """
    weight = tower.conv1.weight
    features = features.to(weight.dtype) if weight.is_meta else features.to(weight.device, weight.dtype)
    states = nn.functional.gelu(tower.conv1(features))
    states = nn.functional.gelu(tower.conv2(states)).transpose(1, 2)
    index = torch.arange(states.shape[1], device=states.device)
    states = states + tower.embed_positions(index).to(states.dtype)
    states = nn.functional.dropout(states, p=tower.dropout, training=tower.training)
    positions = (mask.sum(-1).to(states.device) - 1) // 2 + 1
    attention_mask = create_bidirectional_mask(
        config=tower.config, inputs_embeds=states, attention_mask=(index < positions[:, None]).long()
    )
    for layer in tower.layers:
        if not (tower.training and tower.layerdrop > 0 and torch.rand([]) < tower.layerdrop):
            states = layer(states, attention_mask)
    return tower.layer_norm(tower.avg_pooler(states.transpose(1, 2)).transpose(1, 2))  # type: ignore[no-any-return]
