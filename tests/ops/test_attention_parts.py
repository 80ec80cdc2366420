"""What stands around attention received: pairs of positions, keys of tokens, recording a layer's outputs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hf_tokcomp.ops.attention import keys_of_tokens, pool_positions, recorded_outputs

HEADS, SIZE = 3, 4


def test_pool_positions_leaves_out_a_trailing_position() -> None:
    values = torch.tensor([[1.0, 3.0, 5.0, 6.0, 100.0], [0.0, -2.0, 8.0, 8.0, 100.0]])
    assert pool_positions(values).tolist() == [[2.0, 5.5], [-1.0, 8.0]]
    assert pool_positions(values[:, :4]).tolist() == [[2.0, 5.5], [-1.0, 8.0]]
    assert pool_positions(values[:, :1]).shape == (2, 0)
    wide = torch.arange(24.0).view(1, 4, 2, 3)
    assert torch.equal(pool_positions(wide), (wide[:, 0::2] + wide[:, 1::2]) / 2)


def test_keys_of_tokens_averages_heads_and_pairs() -> None:
    key = torch.randn(2, 17, HEADS * SIZE, generator=torch.Generator().manual_seed(0))
    out = keys_of_tokens(key.bfloat16(), HEADS)
    assert out.shape == (2, 8, SIZE)
    assert out.dtype == torch.float32
    for row in range(2):
        for token in range(8):
            parts = [
                key.bfloat16().double()[row, position, head * SIZE : (head + 1) * SIZE]
                for position in (2 * token, 2 * token + 1)
                for head in range(HEADS)
            ]
            torch.testing.assert_close(out[row, token], (sum(parts) / len(parts)).float())  # type: ignore[union-attr]


def test_recorded_outputs_leaves_no_hook_behind() -> None:
    layer, other = nn.Linear(2, 2), nn.Linear(2, 3)
    with recorded_outputs(first=layer, second=other) as outputs:
        wanted = layer(torch.ones(1, 2)), other(torch.ones(1, 2))
    assert [torch.equal(outputs[name], value) for name, value in zip(("first", "second"), wanted, strict=True)] == [
        True,
        True,
    ]
    assert not outputs["first"].requires_grad
    with pytest.raises(RuntimeError, match="on purpose"), recorded_outputs(first=layer) as outputs:
        raise RuntimeError("on purpose")
    layer(torch.zeros(1, 2))
    assert outputs == {}
    assert not layer._forward_hooks
