"""The table of methods: what it refuses, what it suggests, and a toy method from its decorator to its JSON file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from hf_tokcomp import (
    Assignment,
    AudioTokenCompressor,
    AudioTokens,
    CompressionConfig,
    CompressionConfigError,
    ScoringCompressor,
    StrideConfig,
    methods,
    option,
    register_compressor,
)
from hf_tokcomp.config import registry


@dataclass(frozen=True, kw_only=True)
class ToyConfig(CompressionConfig):
    """Keeps the end, or the beginning."""

    method: str = "toy"
    end: bool = True


class Toy(AudioTokenCompressor[ToyConfig]):
    """Keeps one end of the audio.

    And this is not the idea.
    """

    def assign_slots(self, tokens: AudioTokens, counts: list[int]) -> Assignment:
        wanted = torch.tensor(counts)[:, None]
        index = torch.arange(tokens.features.shape[1])
        first = tokens.lengths[:, None] - wanted if self.config.end else 0 * wanted
        kept = tokens.mask & (index >= first) & (index < first + wanted)
        return Assignment.keep(kept, wanted[:, 0], max(counts))


@pytest.fixture(autouse=True)
def _clean_table() -> Iterator[None]:
    before = dict(registry._METHODS)
    yield
    registry._METHODS.clear()
    registry._METHODS.update(before)


def register(config_class: Any, compressor_class: Any) -> Any:
    return register_compressor(config_class)(compressor_class)


def test_a_registered_method_works_from_end_to_end(tmp_path: Path) -> None:
    assert register(ToyConfig, Toy) is Toy
    assert list(methods())[-1] == "toy"
    assert methods()["toy"] == ("toy", ToyConfig, Toy)
    config = CompressionConfig(method="toy", max_tokens=2, end=False)
    assert type(config) is ToyConfig
    config.save_pretrained(tmp_path)
    assert CompressionConfig.from_pretrained(tmp_path) == config
    features = torch.arange(10.0).view(2, 5, 1)
    for end, wanted in ((False, [[0, 1], [5, 6]]), (True, [[3, 4], [7, 8]])):
        module = AudioTokenCompressor.from_config(config.replace(end=end))
        assert type(module) is Toy
        assert module(AudioTokens(features, [5, 4])).features[..., 0].tolist() == wanted  # type: ignore[arg-type]
    assert repr(module) == "Toy(end=True, max_tokens=2, method='toy', positions='contiguous')"


def test_the_toy_is_gone_again() -> None:
    with pytest.raises(CompressionConfigError, match="Unknown compression method 'toy'"):
        CompressionConfig(method="toy")


def test_the_idea_is_the_first_line() -> None:
    register(ToyConfig, Toy)
    assert methods()["toy"].idea == "Keeps one end of the audio."
    for name, method in methods().items():
        assert method.name == name == method.config_class.method
        assert 10 < len(method.idea) < 120, f"{name}: say the idea in the first line"


def test_a_key_is_given_once() -> None:
    register(ToyConfig, Toy)
    with pytest.raises(ValueError, match="'toy' is already registered by Toy; choose another key"):
        register(ToyConfig, Toy)
    with pytest.raises(ValueError, match="'stride' is already registered by Stride"):
        register(StrideConfig, Toy)
    assert methods()["stride"].compressor_class is not Toy


def test_a_key_is_needed() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Nameless(CompressionConfig):
        pass

    @dataclass(frozen=True, kw_only=True)
    class Numbered(CompressionConfig):
        method: Any = 3

    for config_class in (Nameless, Numbered, CompressionConfig):
        with pytest.raises(ValueError, match="field `method: str`"):
            register(config_class, Toy)


@pytest.mark.parametrize("wrong", [dict, Toy, StrideConfig(), "toy", None, object])
def test_a_config_class_is_needed(wrong: Any) -> None:
    with pytest.raises(TypeError, match="must derive from CompressionConfig"):
        register(wrong, Toy)
    assert "toy" not in methods()


@pytest.mark.parametrize("wrong", [torch.nn.Linear, ToyConfig, lambda config: None, None])
def test_a_compressor_class_is_needed(wrong: Any) -> None:
    with pytest.raises(TypeError, match="must derive from AudioTokenCompressor"):
        register(ToyConfig, wrong)
    assert "toy" not in methods()


def test_the_table_handed_out_is_a_copy() -> None:
    table = methods()
    table.clear()
    assert "stride" in methods()


def test_get_method_suggests_the_nearest() -> None:
    assert registry.get_method("ltbm").config_class.method == "ltbm"
    for wrong, near in (("averagepooling", "average_pooling"), ("top-k", "top_k"), ("randm", "random")):
        with pytest.raises(CompressionConfigError, match=f"'{wrong}': did you mean '{near}'"):
            registry.get_method(wrong)
    with pytest.raises(CompressionConfigError, match=r"'zzz'\. Known methods: .*stride.*@hf_tokcomp\.register"):
        registry.get_method("zzz")


def test_a_compressor_without_a_method_says_what_to_override() -> None:
    class Empty(Toy):
        assign_slots = AudioTokenCompressor.assign_slots

    with pytest.raises(NotImplementedError, match="Empty must override `assign_slots` or `forward`"):
        Empty(ToyConfig())(AudioTokens(torch.ones(1, 4, 1), [4]))  # type: ignore[arg-type]


def test_what_ranks_keeps_the_best_in_its_own_order() -> None:
    class Ranked(ScoringCompressor[ToyConfig]):
        def score(self, tokens: AudioTokens) -> torch.Tensor:
            return tokens.features[..., 0]

    @dataclass(frozen=True, kw_only=True)
    class Unordered(ToyConfig):
        temporal_order = False

    tokens = AudioTokens(torch.tensor([[[2.0], [float("nan")], [3.0], [3.0], [9.0]]]), [4])  # type: ignore[arg-type]
    for config, wanted in ((ToyConfig(max_tokens=2), [2, 3]), (ToyConfig(max_tokens=3), [0, 2, 3])):
        assert Ranked(config)(tokens).positions.tolist() == [wanted]
    assert Ranked(Unordered(max_tokens=3))(tokens).positions.tolist() == [[2, 3, 0]]
    assert Ranked.family == "pruning"
    with pytest.raises(NotImplementedError, match="ScoringCompressor must override `score`"):
        ScoringCompressor(ToyConfig())(tokens)


def test_needs_of_options_add_to_those_of_the_method() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Compared(ToyConfig):
        space: Literal["here", "there"] = option("here", help="where", needs={"there": {"keys"}})

    class Needy(Toy):
        requires = frozenset({"attention"})

    assert Needy(Compared()).requires == {"attention"}
    assert Needy(Compared(space="there")).requires == {"attention", "keys"}
    assert Needy.requires == {"attention"}
