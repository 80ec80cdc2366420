"""What divprune, cdpruner and sa_map share: searches in blocks and tiles, long loops, and features that are none."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from drawn import batch, compressor, draw
from oracle_diversity import determinantal
from oracles import CloseCall
from test_method_oracles import compare

from hf_tokcomp.compressors import sa_map as groups
from hf_tokcomp.ops import diversity as greedy

RUNS: list[tuple[str, dict[str, Any]]] = [
    ("divprune", {}),
    ("cdpruner", {"relevance": "attention"}),
    ("sa_map", {}),
    ("sa_map", {"threshold": -0.9}),
]


@pytest.mark.parametrize("kind", ["walk", "ties"])
@pytest.mark.parametrize(("method", "options"), RUNS)
def test_in_blocks_and_tiles(method: str, options: dict[str, Any], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greedy, "BLOCK", 600)  # no whole matrix, and a few rows at a time
    monkeypatch.setattr(groups, "TILE", 4)
    rng = np.random.default_rng(8)
    for ratio in (0.1, 0.3, 0.6):
        audios = [draw(rng, n, kind) for n in (47, 30, 14, 7)]
        assert compare(compressor(method, **options, retention_ratio=ratio), audios) >= 3


@pytest.mark.parametrize("tile", [1, 3, 4, 64])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.85])
def test_groups_are_those_grown_one_by_one(threshold: float, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "TILE", tile)
    rng = np.random.default_rng(1)
    rows = []
    for n in (150, 64, 1, 97):
        steps = rng.normal(size=(n, 5))
        walk = [steps[0]]
        for step in steps[1:]:
            walk.append(0.95 * walk[-1] + step * rng.choice([0.05, 1.5], p=[0.9, 0.1]))  # still, with jumps
        rows.append(torch.from_numpy(np.stack(walk)))
    vectors = torch.nn.utils.rnn.pad_sequence([row / row.norm(dim=1, keepdim=True) for row in rows], batch_first=True)
    starts, _ = groups.grow_groups(vectors, torch.tensor([len(row) for row in rows]), threshold)
    sizes = []
    for found, row, unit in zip(starts, rows, vectors, strict=True):
        begin, wanted = 0, [0]
        for t in range(1, len(row)):
            if float((unit[begin:t] @ unit[t]).mean()) < threshold:
                begin = t
                wanted.append(t)
        assert found.nonzero()[:, 0].tolist() == wanted
        sizes += np.diff([*wanted, len(row)]).tolist()
    assert max(sizes) > 8
    assert len(sizes) > 8


@pytest.mark.parametrize(("method", "options"), RUNS)
def test_a_broken_token_is_a_zero_one(method: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(2)
    zero, broken = (batch([draw(rng, 40)]) for _ in range(2))
    broken = dataclasses.replace(zero, features=zero.features.clone())
    zero.features[0, 11] = 0.0
    broken.features[0, 11] = float("nan")
    for budget in ({"retention_ratio": 0.1}, {"retention_ratio": 0.6}):
        module = compressor(method, **options, **budget)
        assert torch.equal(module.assign(zero).slot, module.assign(broken).slot)


@pytest.mark.parametrize("scale", [2.0**90, 2.0**-90])
@pytest.mark.parametrize(("method", "options"), RUNS)
def test_loudness_does_not_change_what_is_chosen(method: str, options: dict[str, Any], scale: float) -> None:
    rng = np.random.default_rng(10)
    audios = [draw(rng, n) for n in (40, 25)]
    loud = [audio._replace(features=audio.features * np.float32(scale)) for audio in audios]
    module = compressor(method, **options, retention_ratio=0.3)
    assert compare(module, loud) == 2
    assert module.assign(batch(audios)).slot.tolist() == module.assign(batch(loud)).slot.tolist()


@pytest.mark.parametrize("scale", [1e-38, 1e30])
def test_the_unit_of_attention_does_not_matter(scale: float) -> None:
    rng = np.random.default_rng(11)
    audio = draw(rng, 40)
    scaled = audio._replace(attention_self=audio.attention_self * np.float32(scale))
    one, other = (compressor("sa_map", retention_ratio=0.3).assign(batch([x])) for x in (audio, scaled))
    assert torch.equal(one.slot, other.slot)


@pytest.mark.parametrize(("method", "options"), RUNS)
def test_a_long_loop_in_a_batch_decides_as_alone(method: str, options: dict[str, Any]) -> None:
    # Alike tokens in many dimensions, as encoders give them: hundreds of close decisions, each on top of the others.
    rng = np.random.default_rng(12)
    common = rng.normal(size=200)
    audios = [draw(rng, n, dim=200) for n in (300, 277, 90)]
    audios = [audio._replace(features=(audio.features + 2 * common).astype(np.float32)) for audio in audios]
    module = compressor(method, **options, retention_ratio=0.5)
    together = module.assign(batch(audios))
    for i, audio in enumerate(audios):
        alone = module.assign(batch([audio]))
        n = len(audio.features)
        assert torch.equal(together.slot[i, :n], alone.slot[0])
        assert torch.equal(together.weight[i, :n], alone.weight[0])


def test_more_tokens_than_dimensions_are_filled_up_by_relevance() -> None:
    # 8 dimensions: 8 tokens by their volume, the other 12 of 20 by attention alone.
    rng = np.random.default_rng(13)
    audio = draw(rng, 60)
    module = compressor("cdpruner", relevance="attention", max_tokens=20)
    slot = module.assign(batch([audio])).slot[0]
    few = compressor("cdpruner", relevance="attention", max_tokens=8).assign(batch([audio])).slot[0]
    spanning = (few >= 0).nonzero()[:, 0].tolist()
    rest = [i for i in np.argsort(-audio.attention, kind="stable").tolist() if i not in spanning]
    assert (slot >= 0).nonzero()[:, 0].tolist() == sorted(spanning + rest[:12])


def chosen(vectors: np.ndarray, relevance: np.ndarray, count: int) -> list[int]:
    """What `largest_determinant` chooses of one audio."""
    unit = torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[None]
    mask = torch.ones(1, len(vectors), dtype=torch.bool)
    kept = greedy.largest_determinant(unit, torch.from_numpy(relevance)[None], mask, [count])
    return kept[0].nonzero()[:, 0].tolist()


@pytest.mark.parametrize("decades", [0, 3, 6, 12, 100, 300])
def test_the_scale_of_the_relevance_ends_no_choice(decades: int) -> None:
    # Directions in general position, each of several tokens: the rank of what is kept counts the choices made by the
    # rule, since those that fill up, by r alone, are soon a second one of a direction.
    rng = np.random.default_rng(21)
    for directions, dim in ((40, 12), (12, 40), (30, 30), (64, 3)):
        base = rng.normal(size=(directions, dim))
        vectors = base[rng.permutation(np.repeat(np.arange(directions), 3))]
        n = len(vectors)
        relevance = 10 ** -rng.uniform(0, decades, size=n)
        relevance[rng.permutation(n)[: n // 4]] = 0
        for given in (relevance, relevance * 1e-9, np.zeros(n)):
            for count in (1, 2, dim // 2 + 1, dim, n):
                kept = chosen(vectors, given, min(count, n))
                assert len(kept) == min(count, n)
                assert np.linalg.matrix_rank(vectors[kept]) == min(count, directions, dim)


def test_any_relevance_against_the_definition() -> None:
    rng = np.random.default_rng(22)
    compared = 0
    for trial in range(40):
        n, dim = int(rng.integers(3, 30)), int(rng.integers(2, 12))
        vectors = rng.normal(size=(n, dim))
        if trial % 2:
            vectors = vectors[rng.integers(n, size=n)]  # some again and again
        relevance = 10 ** -rng.uniform(0, 12, size=n)
        relevance[rng.integers(n, size=n // 3)] = 0
        count = int(rng.integers(1, n + 1))
        try:
            wanted = determinantal(vectors, relevance.tolist(), count)
        except CloseCall:
            continue
        assert chosen(vectors, relevance, count) == sorted(wanted)
        compared += 1
    assert compared >= 30


def test_a_spanned_token_is_not_chosen_however_relevant_it_is() -> None:
    # What rounding leaves of the second, 1e-17 or so, is more than all of the third at 1e-12 squared.
    third = np.array([1.0, 2.0, 3.0])
    vectors = np.stack([third, third * 3, np.array([3.0, -1.0, 2.0])])
    assert chosen(vectors, np.array([1.0, 1.0, 1e-12]), 2) == [0, 2]


def test_equal_gains_of_any_size_go_to_the_earlier_token() -> None:
    axes = np.eye(6)
    for size in (0.5, 1e-12, 1e-60, 0.0):
        relevance = np.array([size, size, 1.0, size, size, size])
        for count in range(1, 7):
            assert chosen(axes, relevance, count) == sorted([2, 0, 1, 3, 4, 5][:count])


@pytest.mark.parametrize(("method", "options"), RUNS)
def test_features_may_lie_in_any_order_in_memory(method: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(14)
    tokens = batch([draw(rng, 64), draw(rng, 50)])
    turned = dataclasses.replace(tokens, features=tokens.features.mT.contiguous().mT)
    module = compressor(method, **options, retention_ratio=0.3)
    assert torch.equal(module.assign(tokens).slot, module.assign(turned).slot)


def test_padding_is_nobodys_neighbour() -> None:
    # 100, 100 and 120 degrees to the nearest neighbour: the third token is first. Padding would be nearer, at cosine 0.
    angles = np.radians([0, 100, 220])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    audios = [draw(np.random.default_rng(0), n, dim=2) for n in (3, 30)]
    audios[0] = audios[0]._replace(features=features)
    slot = compressor("divprune", max_tokens=1).assign(batch(audios)).slot
    assert slot[0, :3].tolist() == [-1, -1, 0]


@pytest.mark.parametrize("dim", [8, 300])
@pytest.mark.parametrize(("method", "options"), RUNS)
def test_repeated_vectors_tie_although_sums_round(method: str, options: dict[str, Any], dim: int) -> None:
    # A few vectors over and over: equal cosines come out of a product unequal in their last digits.
    rng = np.random.default_rng(9)
    compared = 0
    for n in rng.integers(20, 60, size=20):
        repeated = rng.normal(size=(12, dim)).astype(np.float32)[rng.integers(12, size=n)]
        audio = draw(rng, int(n))._replace(features=repeated, attention=np.ones(n, dtype=np.float32))
        for budget in ({"retention_ratio": 0.5}, {"max_tokens": 6}):
            compared += compare(compressor(method, **options, **budget), [audio])
    assert compared >= 30
