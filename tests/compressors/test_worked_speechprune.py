"""speechprune by hand: which frame gets how many tokens, and what the second phase is for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from worked import kept

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig, CompressionConfigError
from hf_tokcomp.compressors.speechprune import _share_out
from hf_tokcomp.ops.audio_tokens import FirstLayer


def run(projected: list[list[float]], query: list[list[float]], **options: Any) -> list[tuple[list[int], int]]:
    """What is kept of one audio whose first layer takes the first coordinate's sign for query and key."""
    one = torch.tensor([[1.0, 0.0]])
    tokens = AudioTokens(
        torch.zeros(1, len(projected), 3),
        torch.tensor([len(projected)]),
        projected=torch.tensor([projected]),
        query=torch.tensor([query]) if query else torch.zeros(1, 0, 2),
        first_layer=FirstLayer(one, one, heads=1, key_heads=1),
        frame_rate=25.0,
    )
    module = AudioTokenCompressor.from_config(CompressionConfig(method="speechprune", **options))
    return kept(*(module.assign(tokens).slot[0] >= 0).nonzero().flatten().tolist())


def test_speechprune_keeps_what_fits_the_question() -> None:
    # All tokens attend alike, since all signs are equal, so the second phase keeps the first K of the n1 = K.
    # Two frames of two tokens: f = 1, 0.6 and 0, 0.8; sums 1.6 and 0.8; shares 0.69 and 0.31 of 2: one, and none.
    # The one that rounding lost goes to the frame with the larger share.
    projected = [[1.0, 0.0], [3.0, 4.0], [0.0, 1.0], [8.0, 6.0]]
    options = {"max_tokens": 2, "phase1_tokens": 2, "frame_seconds": 0.08}
    assert run(projected, [[1.0, 0.0]], **options) == kept(0, 1)
    # Of three tokens 2.07 and 0.93: two, none, and the third: the first frame is full, so the other gets it.
    assert run(projected, [[1.0, 0.0]], **options | {"max_tokens": 3, "phase1_tokens": 3}) == kept(0, 1, 3)
    # Asked for the other direction: f = 0, 0.8 and 1, 0.6.
    assert run(projected, [[0.0, 5.0]], **options) == kept(2, 3)
    # The words' mean cosine: with both directions f = 0.5, 0.7, 0.5, 0.7. Two and two of four, the better of each.
    assert run(projected, [[1.0, 0.0], [0.0, 2.0]], **options) == kept(1, 3)


def test_speechprune_without_a_question_is_the_second_phase_alone() -> None:
    # Signs + - - -: queries and keys are 2, 0, 0, 0 (the second coordinate is +): only 0 attends, to itself.
    # Scores: row 0 is 4, 0, 0, 0; the others are even. Token 0 receives most, the rest tie, the earlier ones win.
    projected = [[1.0, 1.0], [-1.0, 1.0], [-2.0, 1.0], [-3.0, 1.0]]
    assert run(projected, [], max_tokens=1) == kept(0)
    assert run(projected[::-1], [], max_tokens=1) == kept(3)
    assert run(projected[::-1], [], max_tokens=2) == kept(0, 3)


def test_speechprune_first_phase_keeps_the_geometric_mean_or_750() -> None:
    config = CompressionConfig(method="speechprune")
    left = [config.left_by_phase1(n, k) for n, k in ((100, 25), (750, 75), (751, 75), (15000, 1500), (2, 1))]
    assert left == [50, 237, 750, 1500, 1]
    config = CompressionConfig(method="speechprune", phase1_tokens=40)
    assert [config.left_by_phase1(n, k) for n, k in ((100, 25), (30, 5), (100, 50))] == [40, 30, 50]


def test_speechprune_gives_what_is_left_in_turns() -> None:
    # 9 tokens over frames of 4, 4, 1: 0.9 * 9 = 8.1, but only 4 fit; 0.06 and 0.04 give none. Five are left:
    # one each to the second and third frame, then the third is full and the second gets the other three.
    share, room = torch.tensor([[0.9, 0.06, 0.04]], dtype=torch.float64), torch.tensor([[4, 4, 1]])
    assert _share_out(share, room, torch.tensor([9]), 4).tolist() == [[4, 4, 1]]
    assert _share_out(share, room, torch.tensor([7]), 4).tolist() == [[4, 2, 1]]
    assert _share_out(share, room, torch.tensor([6]), 4).tolist() == [[4, 1, 1]]
    assert _share_out(share, room, torch.tensor([5]), 4).tolist() == [[4, 1, 0]]


def test_speechprune_refuses() -> None:
    for option in ({"phase1_tokens": 0}, {"frame_seconds": 0}):
        with pytest.raises(CompressionConfigError, match=next(iter(option))):
            CompressionConfig(method="speechprune", **option)
