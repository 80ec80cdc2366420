"""Qwen2.5-Omni's thinker: what its encoder attends to, which returns no weights to compare with, and its positions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hf_tokcomp.patches.qwen2_5_omni_thinker import PATCH
from torch import Tensor

import hf_tokcomp
from hf_tokcomp.config.encoder_options import EncoderOptions
from hf_tokcomp.models.versions import verdict
from hf_tokcomp.models.windows import Windows

if (problem := verdict(PATCH)) is not None:
    pytest.skip(problem, allow_module_level=True)
from subjects.qwen2_5_omni_thinker import SUBJECT

BLOCK = 20
"""Positions of a block of the tiny encoder, 0.4 s."""


@pytest.fixture
def model() -> Any:
    return SUBJECT.model()


def read_of_layer(model: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """``(heads, positions, head_dim)`` queries and keys of the last layer, all audios in a row, while upstream runs."""
    layer = model.model.audio_tower.layers[-1].self_attn
    seen: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _m, _a, output, name=name: seen.__setitem__(name, output))
        for name, module in (("query", layer.q_proj), ("key", layer.k_proj))
    ]
    with torch.no_grad():
        model(**inputs)
    for handle in handles:
        handle.remove()
    query, key = (seen[name].view(len(seen[name]), layer.num_heads, -1).transpose(0, 1) for name in ("query", "key"))
    return query, key


@pytest.mark.parametrize("need", ["attention", "attention_max", "attention_self", "keys"])
def test_scores_are_those_within_blocks(model: Any, need: str) -> None:
    inputs = SUBJECT.inputs([[1.0, 0.43], [0.81]])
    query, key = read_of_layer(model, inputs)
    windows = SUBJECT.patch.windows_of(inputs)
    with torch.no_grad():
        encoded = SUBJECT.patch.encode(model, windows, frozenset({need}), EncoderOptions())
    found, begin = getattr(encoded, need), 0
    for number, frames in enumerate(windows.frames):
        positions = (frames - 1) // 2 + 1
        of_positions = []
        for first in range(begin, begin + positions, BLOCK):
            block = slice(first, min(first + BLOCK, begin + positions))
            scores = query[:, block] @ key[:, block].transpose(1, 2) * query.shape[-1] ** -0.5
            weights = scores.softmax(-1)  # of queries (rows) to keys
            of_positions.append(
                {
                    "attention": weights.mean(0).sum(0),
                    "attention_max": weights.sum(1).amax(0),
                    "keys": key[:, block].mean(0),
                    "attention_self": weights.mean(0),
                }[need]
            )
        begin += positions
        if need == "attention_self":  # of a token's two positions to the two
            halves = [len(w) // 2 for w in of_positions]
            pairs = [w[: 2 * n, : 2 * n].reshape(n, 2, n, 2) for n, w in zip(halves, of_positions, strict=True)]
            wanted = torch.cat([pair.sum((1, 3)).diagonal() / 2 for pair in pairs])
        else:
            joined = torch.cat(of_positions)
            wanted = joined[: positions // 2 * 2].unflatten(0, (-1, 2)).mean(1)
        torch.testing.assert_close(found[number, : len(wanted)], wanted, atol=1e-5, rtol=1e-5)
    assert number == 2
    assert begin == query.shape[1]


def test_an_audio_of_no_length_has_no_tokens(model: Any) -> None:
    inputs = SUBJECT.inputs([[0.5, 0.3]])
    alone = SUBJECT.patch.windows_of(SUBJECT.inputs([[0.3]]))
    given = SUBJECT.patch.windows_of(inputs)
    assert given.mask is not None
    mask = given.mask.bool().clone()
    mask[0] = 0
    empty = Windows(given.features, [0, given.frames[1]], mask, given.numbers)
    kept = mask.clone()
    with torch.no_grad():
        encoded = SUBJECT.patch.encode(model, empty, frozenset(), EncoderOptions()).features
        single = SUBJECT.patch.encode(model, alone, frozenset(), EncoderOptions()).features
    assert torch.equal(mask, kept)
    assert encoded.shape[1] == SUBJECT.patch.window_tokens(given.frames[1])
    assert SUBJECT.patch.window_tokens(0) == 0
    torch.testing.assert_close(encoded[1].shape, single[0].shape)


def test_positions_of_three_rows_are_refused(model: Any) -> None:
    inputs = SUBJECT.inputs([[0.5]])
    columns = torch.arange(inputs["input_ids"].shape[1]).expand(3, 1, -1)
    hf_tokcomp.patch(model, "stride")
    with pytest.raises(ValueError, match=r"position_ids must be \(batch, \d+\)"):
        model(**inputs, position_ids=columns)
