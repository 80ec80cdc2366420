"""What divprune, cdpruner and sa_map share: searches in blocks and tiles, long loops, and features that are none."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from drawn import batch, compressor, draw
from test_method_oracles import compare

from hf_tokcomp import greedy, groups

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


@pytest.mark.parametrize(("method", "options"), RUNS)
def test_features_may_lie_in_any_order_in_memory(method: str, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(14)
    tokens = batch([draw(rng, 64), draw(rng, 50)])
    turned = dataclasses.replace(tokens, features=tokens.features.mT.contiguous().mT)
    module = compressor(method, **options, retention_ratio=0.3)
    assert torch.equal(module.assign(tokens).slot, module.assign(turned).slot)
