"""a_tome and fastadasp by hand: adjacent tokens merge, on vectors in the plane."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from test_worked_merges import directions
from worked import compress

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig, CompressionConfigError

Slots = list[tuple[list[int], int]]


def a_tome(*degrees: float, **options: Any) -> Slots:
    """a_tome on keys in these directions."""
    return compress("a_tome", len(degrees), fields={"keys": directions(*degrees)}, **options)


def test_a_tome_merges_the_most_similar_pairs_first() -> None:
    # Pairs 0-1 (20 degrees), 2-3 (5), 4-5 (10); 3-4, which are equal, are no pair, and 6 has no partner.
    keys = (0, 20, 60, 65, 65, 75, 75)
    assert a_tome(*keys, max_tokens=6) == [([0], 0), ([1], 1), ([2, 3], 3), ([4], 4), ([5], 5), ([6], 6)]
    assert a_tome(*keys, max_tokens=5) == [([0], 0), ([1], 1), ([2, 3], 3), ([4, 5], 5), ([6], 6)]
    assert a_tome(*keys, max_tokens=4) == [([0, 1], 1), ([2, 3], 3), ([4, 5], 5), ([6], 6)]
    # Round 2: 0-1 is at 10 degrees, 2-3 at 62.5; 4-5 at 70, 6 at 75.
    assert a_tome(*keys, max_tokens=3) == [([0, 1], 1), ([2, 3], 3), ([4, 5, 6], 6)]
    assert a_tome(*keys, max_tokens=2) == [([0, 1, 2, 3], 3), ([4, 5, 6], 6)]
    assert a_tome(*keys, max_tokens=1) == [([0, 1, 2, 3, 4, 5, 6], 6)]


def test_a_tome_gives_ties_to_the_earlier() -> None:
    assert a_tome(*[30] * 6, max_tokens=4) == [([0, 1], 1), ([2, 3], 3), ([4], 4), ([5], 5)]
    assert a_tome(*[30] * 6, max_tokens=2) == [([0, 1, 2, 3], 3), ([4, 5], 5)]
    silent = {"keys": [[0.0, 0.0]] * 5}
    assert compress("a_tome", 5, fields=silent, max_tokens=4) == [([0, 1], 1), ([2], 2), ([3], 3), ([4], 4)]


def test_a_tome_compares_size_weighted_means() -> None:
    # 15 tokens become 8 and then 4: 0-3 (0 degrees), 4-7 (35), 8-11 (0) and 12-14, two at 0 degrees and one at 90.
    # Their mean is at 26.6 degrees, nearer to 0 than 35 is; unweighted, 12-13 with 14, it would be at 45.
    keys = [0] * 4 + [35] * 4 + [0] * 6 + [90]
    assert a_tome(*keys, max_tokens=3) == [(list(range(4)), 3), (list(range(4, 8)), 7), (list(range(8, 15)), 14)]
    # A mean is one of vectors, not of directions: (1.5, 0.5) and (1, 0) have cosine 0.949, (0, 1) and (0.5, 1) 0.894.
    long = {"keys": [[3.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 1.0]]}
    assert compress("a_tome", 8, fields=long, max_tokens=3) == [([0, 1, 2, 3], 3), ([4, 5], 5), ([6, 7], 7)]


def test_a_tome_mean_is_over_all_members() -> None:
    # 0-1 and 2-3 merge, then these two, and last 4, the odd one: a fifth each, not half for the last to come.
    module = AudioTokenCompressor.from_config(CompressionConfig(method="a_tome", max_tokens=1))
    features = torch.tensor([[[1.0], [2.0], [3.0], [4.0], [15.0]]])
    assert module(AudioTokens(features, [5], keys=torch.ones(1, 5, 2))).features.tolist() == [[[5.0]]]


def test_a_tome_rounds_go_on_while_a_pair_is_above_the_threshold() -> None:
    # Above 0.9 is nearer than 26 degrees. Pairs are 20 and 30 degrees apart: one merges, and 10 is 80 from 90.
    assert a_tome(0, 20, 90, 120, threshold=0.9) == [([0, 1], 1), ([2], 2), ([3], 3)]
    # Three pairs merge and stand at 0, 20 and 80; then the first two of them do.
    assert a_tome(0, 0, 20, 20, 80, 80, threshold=0.9) == [([0, 1, 2, 3], 3), ([4, 5], 5)]
    # Above 0.8 is nearer than 37 degrees. First 5 and 37.5 degrees are left, then 21.2: the
    # last one finds a partner in round 3.
    assert a_tome(0, 10, 35, 40, 30, threshold=0.8) == [([0, 1, 2, 3, 4], 4)]
    # Above, not at: equal vectors do not merge at 1, and right angles do not at 0.
    assert a_tome(0, 0, 0, threshold=1) == [([0], 0), ([1], 1), ([2], 2)]
    pair = {"keys": [[1.0, 0.0], [0.0, 1.0]]}
    assert compress("a_tome", 2, fields=pair, threshold=0) == [([0], 0), ([1], 1)]
    assert compress("a_tome", 2, fields=pair, threshold=-0.01) == [([0, 1], 1)]


def test_a_tome_on_features() -> None:
    features = directions(0, 60, 90, 95)
    fields = {"keys": directions(0, 5, 50, 90)}
    assert compress("a_tome", features, fields=fields, max_tokens=3) == [([0, 1], 1), ([2], 2), ([3], 3)]
    module = AudioTokenCompressor.from_config(CompressionConfig(method="a_tome", max_tokens=3, similarity="features"))
    assert module.requires == frozenset()
    assert compress("a_tome", features, max_tokens=3, similarity="features") == [([0], 0), ([1], 1), ([2, 3], 3)]


def test_a_tome_takes_a_budget_or_a_threshold() -> None:
    assert CompressionConfig(method="a_tome").retention_ratio == 0.5
    config = CompressionConfig(method="a_tome", threshold=0.7)
    assert (config.retention_ratio, config.deterministic_length) == (None, False)
    assert CompressionConfig.from_dict(config.to_dict()) == config
    assert CompressionConfig(method="a_tome").replace(retention_ratio=None, threshold=0.7) == config
    for options, message in (
        ({"threshold": 0.7, "max_tokens": 3}, "leave out threshold or max_tokens"),
        ({"threshold": -1}, "threshold=-1 must be a finite number > -1 and at most 1"),
        ({"threshold": 1.1}, "threshold=1.1 must be"),
        ({"threshold": 0.7, "chunk_seconds": 1.0}, "cannot work in chunks"),
        ({"similarity": "values"}, "similarity='values' must be one of"),
    ):
        with pytest.raises(CompressionConfigError, match=message):
            CompressionConfig(method="a_tome", **options)  # type: ignore[arg-type]


def test_fastadasp_joins_the_most_similar_links() -> None:
    # Links 10, 40, 5, 20, 60, 30 degrees. Two of them: 2-3 and 0-1; four: and 3-4, 5-6.
    features = directions(0, 10, 50, 55, 75, 135, 165)
    two = [([0, 1], 0), ([2, 3], 2), ([4], 4), ([5], 5), ([6], 6)]
    four = [([0, 1], 0), ([2, 3, 4], 3), ([5, 6], 5)]
    for options in ({"weighting": "mean"}, {"attention": [1.0] * 7}):
        assert compress("fastadasp", features, max_tokens=5, **options) == two  # type: ignore[arg-type]
        assert compress("fastadasp", features, max_tokens=3, **options) == four  # type: ignore[arg-type]
    # All alike: the earliest links join.
    assert compress("fastadasp", [[1.0]] * 5, [1.0] * 5, max_tokens=3) == [([0, 1, 2], 1), ([3], 3), ([4], 4)]


def weights(attention: list[float], **options: Any) -> list[float]:
    """The weights of two runs of two tokens."""
    module = AudioTokenCompressor.from_config(CompressionConfig(method="fastadasp", max_tokens=2, **options))
    tokens = AudioTokens(torch.tensor([directions(0, 0, 90, 90)]), [4], attention=torch.tensor([attention]))
    assignment = module.assign(tokens)
    assert assignment.slot.tolist() == [[0, 0, 1, 1]]
    return assignment.weight[0].tolist()


def test_fastadasp_weighs_by_attention() -> None:
    assert weights([1.0, 3.0, 2.0, 2.0]) == [0.25, 0.75, 0.5, 0.5]
    assert weights([0.0, 3.0, 2.0, 6.0]) == [0.0, 1.0, 0.25, 0.75]
    assert weights([1.0, 3.0, 2.0, 2.0], weighting="mean") == [0.5] * 4
    assert weights([3e38, 3e38, 1e-40, 3e-40]) == pytest.approx([0.5, 0.5, 0.25, 0.75], rel=1e-4)


@pytest.mark.parametrize("bad", [[0.0, 0.0], [math.nan, 1.0], [1.0, math.inf], [-1.0, 3.0], [-2.0, -1.0], [-0.5, 0.0]])
def test_fastadasp_falls_back_to_the_plain_mean(bad: list[float]) -> None:
    assert weights([*bad, 1.0, 3.0]) == [0.5, 0.5, 0.25, 0.75]


def test_fastadasp_needs_attention_for_its_weights_alone() -> None:
    def needs(**options: Any) -> frozenset[str]:
        return AudioTokenCompressor.from_config(CompressionConfig(method="fastadasp", **options)).requires

    assert needs() == {"attention"}
    assert needs(weighting="mean") == frozenset()
    with pytest.raises(CompressionConfigError, match="weighting='keys' must be one of"):
        needs(weighting="keys")
