"""CompressionConfig: the right class, errors that name the fix, and copies that stay what they were."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
from drawn import BUDGETED, CLASSES, METHODS, REQUIRED, changed, config

from hf_tokcomp import CompressionConfig, CompressionConfigError, LTBMConfig
from hf_tokcomp._version import __version__


@pytest.mark.parametrize("cls", CLASSES)
def test_the_method_picks_the_class(cls: type[CompressionConfig]) -> None:
    given = REQUIRED.get(cls.method, {})
    config = CompressionConfig(method=cls.method, **given)
    assert type(config) is cls
    assert config == cls(**given) == CompressionConfig.from_dict({"method": cls.method, **given})
    assert config == cls.from_dict(config.to_dict()) == CompressionConfig.from_dict(config.to_dict())
    assert config.method == cls.method
    assert (config.schema_version, config.hf_tokcomp_version) == (1, __version__)
    assert config.positions == "contiguous"


def test_options_reach_the_class() -> None:
    config = CompressionConfig(method="ltbm", window=4, max_tokens=10)
    assert isinstance(config, LTBMConfig)
    assert (config.window, config.max_tokens, config.retention_ratio) == (4, 10, None)
    assert CompressionConfig(method="segmentwise_top_k", segments=3) != CompressionConfig(method="segmentwise_top_k")


@pytest.mark.parametrize("method", METHODS)
def test_default_budget(method: str) -> None:
    config = CompressionConfig(method=method, **REQUIRED.get(method, {}))
    assert config.retention_ratio == config.default_retention_ratio
    assert (config.tokens_per_second, config.max_tokens) == (None, None)
    if method in BUDGETED and config.deterministic_length:
        assert config.retention_ratio == 0.5


def test_equality_and_hash() -> None:
    assert LTBMConfig(window=3) == LTBMConfig(window=3, hf_tokcomp_version="0.0.1")
    assert hash(LTBMConfig(window=3)) == hash(LTBMConfig(window=3, hf_tokcomp_version="0.0.1"))
    assert LTBMConfig(window=3) != LTBMConfig(window=4)
    assert len({config(m) for m in METHODS} | {changed(cls) for cls in CLASSES}) == 2 * len(METHODS)


@pytest.mark.parametrize("cls", CLASSES)
def test_copies_are_equal_and_immutable(cls: type[CompressionConfig]) -> None:
    config = changed(cls)
    for twin in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config)), config.replace()):
        assert type(twin) is cls
        assert twin == config
        assert twin.to_dict() == config.to_dict()
        assert hash(twin) == hash(config)
    for field in dataclasses.fields(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field.name, None)


@pytest.mark.parametrize("cls", CLASSES)
def test_replace(cls: type[CompressionConfig]) -> None:
    config = changed(cls)
    before = config.to_dict()
    other = config.replace(positions="contiguous")
    assert other.to_dict() == before | {"positions": "contiguous"}
    assert config.to_dict() == before
    with pytest.raises(CompressionConfigError, match="no option 'positoins'"):
        config.replace(positoins="original")
    if cls.accepts_budget:
        rated = config.replace(tokens_per_second=5)
        assert (rated.retention_ratio, rated.tokens_per_second, rated.max_tokens) == (None, 5, None)
        assert rated.positions == "original"
        with pytest.raises(CompressionConfigError, match="one budget"):
            config.replace(tokens_per_second=5, retention_ratio=0.5)


def test_replace_stamps_its_own_version() -> None:
    old = CompressionConfig(method="stride", hf_tokcomp_version="0.0.1")
    assert old.replace(max_tokens=3).hf_tokcomp_version == __version__


def test_what_takes_the_place_of_a_budget_is_replaced_by_one() -> None:
    merging = CompressionConfig(method="a_tome")
    by_threshold = merging.replace(threshold=0.9)
    assert (by_threshold.retention_ratio, by_threshold.deterministic_length) == (None, False)
    assert by_threshold.replace(retention_ratio=0.5) == merging
    assert by_threshold.replace(max_tokens=7) == CompressionConfig(method="a_tome", max_tokens=7)
    segments = CompressionConfig(method="segmentation", min_duration=1, max_duration=2)
    assert segments.replace(retention_ratio=0.5) == CompressionConfig(method="segmentation", retention_ratio=0.5)
    assert CompressionConfig(method="segmentation", max_tokens=3).replace(max_duration=2).max_tokens is None
