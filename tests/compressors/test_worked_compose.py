"""Methods in sequence by hand: counts, members, weights and positions of compose."""

from __future__ import annotations

import pytest
import torch
from drawn_assignments import read_slots
from test_worked_merges import directions
from worked import compress, kept

from hf_tokcomp import (
    Assignment,
    AudioTokenCompressor,
    AudioTokens,
    ComposeConfig,
    CompressionConfig,
    CompressionConfigError,
)
from hf_tokcomp.config.notation import resolve_compression
from hf_tokcomp.ops.assignment import _settle


def stages(*given: dict[str, object]) -> ComposeConfig:
    config = resolve_compression(list(given))
    assert isinstance(config, ComposeConfig)
    return config


def test_compose_prunes_what_pooling_left() -> None:
    # Pairs (0, 1), (2, 3), (4, 5), (6, 7) stand at 0, 2, 4, 6 and have the mean attention 1.5, 3, 1, 2.
    attention = [1.0, 2.0, 6.0, 0.0, 1.0, 1.0, 0.0, 4.0]
    pooled = {"method": "average_pooling", "max_tokens": 4}
    assert compress("compose", 8, attention, stages=[pooled, {"method": "top_k", "max_tokens": 2}]) == [
        ([2, 3], 2),
        ([6, 7], 6),
    ]


def test_compose_pools_what_pruning_left() -> None:
    # 1, 3, 4, 6 are kept; (1, 3) has the mean index 2 and (4, 6) has 5.
    attention = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0]
    given = [{"method": "top_k", "max_tokens": 4}, {"method": "average_pooling", "max_tokens": 2}]
    assert compress("compose", 8, attention, stages=given) == [([1, 3], 2), ([4, 6], 5)]


def test_compose_gives_scattered_members_places_of_their_own() -> None:
    # Round 1 of global merging: 0 joins 5 and 2 joins 3 (5 and 30 degrees), leaving 1, (2, 3), 4, (0, 5).
    # Pooled in pairs: (1, 2, 3) and (0, 4, 5), with mean indices 2 and 3.
    features = directions(0, 40, 90, 120, 170, 5)
    merged = {"method": "global_merge", "max_tokens": 4}
    assert compress("compose", features, stages=[merged, {"method": "average_pooling", "max_tokens": 2}]) == [
        ([1, 2, 3], 2),
        ([0, 4, 5], 3),
    ]


def test_compose_keeps_slots_apart_that_have_the_same_mean_index() -> None:
    # Merged: (0, 6) at 6, (2, 4) at 4, 1, 3, 5 alone; in that order of places: 1, 3, (2, 4), 5, (0, 6).
    first = Assignment.mean(
        torch.tensor([[4, 0, 2, 1, 2, 3, 4]]), torch.tensor([5]), 5, torch.tensor([[1, 3, 4, 5, 6]])
    )
    # Pooled: 1 with 5 is at 3, as 3 is, as (2, 4) with (0, 6) is.
    both = first.compose(Assignment.mean(torch.tensor([[0, 1, 2, 0, 2]]), torch.tensor([3]), 3))
    assert [(slot.members, slot.position) for slot in read_slots(both, 0)] == [([1, 5], 3), ([3], 4), ([0, 2, 4, 6], 5)]
    # At the end there is no room behind: three slots that all belong at 2 of 0..3 take the last three places.
    last = _settle(torch.tensor([[2, 2, 2]]), torch.tensor([[True] * 3]), torch.tensor([3]))
    assert last[0].tolist() == [[1, 2, 3]]
    # And slots that come the other way round are put in order.
    swapped = _settle(torch.tensor([[5, 2, 0]]), torch.tensor([[True, True, False]]), torch.tensor([9]))
    assert swapped[0].tolist() == [[2, 5, 0]]
    assert swapped[1].tolist() == [[1, 0, 2]]


def test_compose_counts_stage_after_stage() -> None:
    config = stages({"method": "stride", "retention_ratio": 0.5}, {"method": "ltbm", "retention_ratio": 0.3})
    assert [config.output_length(n) for n in (0, 1, 2, 7, 100, 750)] == [0, 1, 1, 1, 15, 113]
    # A rate means seconds of audio in every stage: 5 tokens per second of 30 s, however many were left before.
    config = stages({"method": "stride", "retention_ratio": 0.5}, {"method": "ltbm", "tokens_per_second": 5})
    assert config.output_length(750, 25.0) == 150
    # Segments of 3 s: ten of them in 30 s, although half of the tokens are gone.
    config = stages({"method": "stride"}, {"method": "segmentwise_top_k", "segment_seconds": 3, "max_tokens": 19})
    assert config.output_length(750, 25.0) == 10


def test_compose_multiplies_weights() -> None:
    given = [{"method": "average_pooling", "max_tokens": 3}, {"method": "average_pooling", "max_tokens": 1}]
    module = AudioTokenCompressor.from_config(CompressionConfig(method="compose", stages=given))
    features = torch.tensor([[[6.0], [12.0], [2.0], [4.0], [3.0]]])
    # i * 3 // 5: 0 0 1 1 2; then the mean of 9, 3 and 3.
    assert module(AudioTokens(features, [5])).features.tolist() == [[[5.0]]]


def test_compose_can_end_in_the_order_of_attention() -> None:
    attention = [3.0, 1.0, 5.0, 4.0]
    given = [{"method": "top_k", "max_tokens": 3}, {"method": "top_k", "max_tokens": 2, "order": "attention"}]
    assert compress("compose", 4, attention, stages=given) == [([2], 2), ([3], 3)]
    assert compress("compose", 4, [4.0, 1.0, 3.0, 5.0], stages=given) == [([3], 3), ([0], 0)]


def test_compose_of_one_stage_is_that_method() -> None:
    assert compress("compose", 7, stages=[{"method": "stride", "max_tokens": 3}]) == kept(0, 3, 5)


def test_compose_is_saved_and_loaded_like_any_other(tmp_path: object) -> None:
    config = stages({"method": "ltbm", "window": 3}, {"method": "stride", "max_tokens": 9}).replace(
        positions="original"
    )
    config.save_pretrained(str(tmp_path))
    assert CompressionConfig.from_pretrained(str(tmp_path)) == config
    assert resolve_compression(["ltbm", "stride"]) == stages({"method": "ltbm"}, {"method": "stride"})
    assert config.to_dict()["stages"][1] == {"max_tokens": 9, "method": "stride", "schema_version": 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "needs `stages`, a list"),
        ([], "needs `stages`, a list"),
        ("ltbm", "needs `stages`, a list"),
        ([3], r"stages\[0\]: A compression config must be a dict"),
        (["ltbm", {"method": "stride", "max_tokens": 0}], r"stages\[1\]: max_tokens=0"),
        (["ltbm", {"method": "stride", "windo": 0}], r"stages\[1\]: 'stride' has no option 'windo'"),
        ([{"method": "compose", "stages": ["ltbm"]}], r"stages\[0\] is a composition itself"),
        ([ComposeConfig(stages=("ltbm",)), "ltbm"], r"stages\[0\] is a composition itself"),  # type: ignore[arg-type]
        ([{"method": "ltbm", "positions": "original"}], r"stages\[0\]: positions='original' belongs to compose"),
        ([{"method": "top_k", "order": "attention"}, "ltbm"], r"stages\[0\] does not keep the temporal order"),
    ],
)
def test_compose_refuses(given: object, message: str) -> None:
    with pytest.raises(CompressionConfigError, match=message):
        CompressionConfig(method="compose", stages=given)


def test_compose_takes_no_budget_of_its_own() -> None:
    with pytest.raises(CompressionConfigError, match="takes no budget"):
        CompressionConfig(method="compose", stages=["ltbm"], retention_ratio=0.5)
    with pytest.raises(CompressionConfigError, match="temporal order require positions='contiguous'"):
        CompressionConfig(method="compose", stages=[{"method": "top_k", "order": "attention"}], positions="original")
