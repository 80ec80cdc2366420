"""What a config refuses, and that the message names the field, the value and what would be right."""

from __future__ import annotations

import math
from typing import Any

import pytest
from drawn import BUDGETED, CLASSES

from hf_tokcomp import CompressionConfig, CompressionConfigError, LTBMConfig


def refused(message: str, **values: Any) -> None:
    with pytest.raises(CompressionConfigError, match=message):
        CompressionConfig(**values)
    if "method" in values:
        with pytest.raises(CompressionConfigError, match=message):
            CompressionConfig.from_dict(values)


@pytest.mark.parametrize("version", [None, 1, "0.1 |", "0.1\n# Title", "`x`", "<b>", "1" * 65, "\u0661"])
def test_a_version_is_no_text_of_somebodys_choice(version: Any) -> None:
    refused("hf_tokcomp_version=.* must be a version such as '0.1.0'", method="stride", hf_tokcomp_version=version)


def test_versions() -> None:
    for version in ("", "0.1.0", "1!2.0rc1.post3.dev4+local.5-x_y"):
        assert CompressionConfig(method="stride", hf_tokcomp_version=version).hf_tokcomp_version == version


def test_a_method_must_be_named() -> None:
    for make in (lambda: CompressionConfig(), lambda: CompressionConfig.from_dict({})):
        with pytest.raises(CompressionConfigError, match=r"method.*ltbm"):
            make()
    with pytest.raises(CompressionConfigError, match="Unknown compression method ''"):
        CompressionConfig(retention_ratio=0.5)


def test_an_unknown_method_is_told_the_nearest_one() -> None:
    refused(
        "Unknown compression method 'segmentwise_topk': did you mean 'segmentwise_top_k'.*register",
        method="segmentwise_topk",
    )
    refused(r"Unknown compression method 'qqqq'\. Known methods: .*ltbm", method="qqqq")
    for name in (None, 3, ["ltbm"], {"ltbm": 1}, "x" * 5000):
        refused("Unknown compression method", method=name)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_unknown_option_is_told_the_valid_ones(cls: type[CompressionConfig]) -> None:
    refused(f"'{cls.method}' has no option 'positoins': did you mean 'positions'", method=cls.method, positoins=1)
    refused(f"'{cls.method}' has no option 'zzzz'.*Its options: .*positions", method=cls.method, zzzz=1)
    with pytest.raises(TypeError, match="zzzz"):
        cls(zzzz=1)  # type: ignore[call-arg]


def test_one_method_is_not_another() -> None:
    with pytest.raises(CompressionConfigError, match="LTBMConfig is the config of 'ltbm', not 'stride'"):
        LTBMConfig(method="stride")
    with pytest.raises(CompressionConfigError, match="'stride' is not the method of LTBMConfig"):
        LTBMConfig.from_dict({"method": "stride"})
    with pytest.raises(CompressionConfigError, match="must be a dict, not list"):
        CompressionConfig.from_dict([("method", "ltbm")])  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, 0.0, -0.5, 1.0000001, 2, math.nan, math.inf, -math.inf, True, "0.5", [0.5]])
@pytest.mark.parametrize("method", BUDGETED)
def test_ratio_out_of_range(method: str, value: Any) -> None:
    refused("retention_ratio=.* must be a finite number > 0 and at most 1", method=method, retention_ratio=value)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, True, "5", {}])
@pytest.mark.parametrize("method", BUDGETED)
def test_rate_out_of_range(method: str, value: Any) -> None:
    refused("tokens_per_second=.* must be a finite number > 0", method=method, tokens_per_second=value)


@pytest.mark.parametrize("budget", ["retention_ratio", "tokens_per_second"])
def test_a_number_too_large_for_a_float_is_out_of_range(budget: str) -> None:
    refused(f"{budget}=.* must be a finite number", method="stride", **{budget: 10**400})


@pytest.mark.parametrize("value", [0, -3, 2.0, math.nan, True, "5", [1]])
@pytest.mark.parametrize("method", BUDGETED)
def test_token_limit_out_of_range(method: str, value: Any) -> None:
    refused("max_tokens=.* must be an integer of at least 1", method=method, max_tokens=value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "ltbm", "window": 0}, "window=0 must be an integer of at least 1"),
        ({"method": "ltbm", "window": 2.5}, "window=2.5 must be an integer"),
        ({"method": "ltbm", "window": True}, "window=True must be an integer"),
        ({"method": "segmentwise_top_k", "segments": 0}, "segments=0 must be an integer of at least 1"),
        ({"method": "random", "seed": -1}, "seed=-1 must be an integer of at least 0"),
        ({"method": "stride", "positions": "middle"}, "positions='middle' must be one of .*original"),
        ({"method": "stride", "positions": ["original"]}, "positions=.* must be one of"),
        ({"method": "stride", "schema_version": "1"}, "schema_version='1' must be an integer"),
        ({"method": "stride", "schema_version": True}, "schema_version=True must be an integer"),
        ({"method": "stride", "schema_version": 1.0}, "schema_version=1.0 must be an integer"),
        ({"method": "stride", "retention_ratio": 0.5, "max_tokens": 3}, "one budget.*retention_ratio and max_tokens"),
        ({"method": "stride", "tokens_per_second": 5, "max_tokens": 3}, "one budget.*tokens_per_second and max_tokens"),
        ({"method": "none", "retention_ratio": 0.5}, "'none' takes no budget; leave out retention_ratio"),
        ({"method": "none", "max_tokens": 5, "tokens_per_second": 1}, "leave out tokens_per_second, max_tokens"),
    ],
)
def test_bad_values_name_the_field_and_what_it_takes(values: dict[str, Any], message: str) -> None:
    refused(message, **values)
