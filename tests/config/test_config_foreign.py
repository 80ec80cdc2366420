"""Configs of other versions, broken files and hostile values: read, warned about or refused, and nothing else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from drawn import CLASSES, METHODS
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_tokcomp import CompressionConfig, CompressionConfigError, LTBMConfig

NAME = "compression_config.json"
OPTIONS = ["retention_ratio", "tokens_per_second", "max_tokens", "positions", "window", "segments", "seed"]
VERSIONS = ["schema_version", "hf_tokcomp_version"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / NAME


def test_an_unknown_key_of_this_schema_is_an_error() -> None:
    with pytest.raises(CompressionConfigError, match="'ltbm' has no option 'windw': did you mean 'window'"):
        CompressionConfig.from_dict({"method": "ltbm", "windw": 3, "schema_version": 1})


def test_an_unknown_key_of_a_newer_schema_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    values = {"method": "ltbm", "window": 3, "shape": "oval", "size": 2, "schema_version": 2}
    with caplog.at_level(logging.WARNING):
        config = CompressionConfig.from_dict(values)
    assert isinstance(config, LTBMConfig)
    assert config.window == 3
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    for part in ("schema version 2", "ignores shape, size", "Upgrade", "pip install -U hf-tokcomp"):
        assert part in record.getMessage()


def test_this_schema_and_older_ones_do_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    for schema in (0, 1):
        CompressionConfig.from_dict({"method": "ltbm", "schema_version": schema})
    CompressionConfig.from_dict({"method": "ltbm"})
    assert not caplog.records


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_quantisation_of_vllm_is_read_past(empty: Any, tmp_path: Path) -> None:
    stored = LTBMConfig(retention_ratio=0.25).to_dict() | {"quant_method": empty}
    assert CompressionConfig.from_dict(stored) == LTBMConfig.from_dict(stored) == LTBMConfig(retention_ratio=0.25)
    assert "quant_method" in stored  # it is vLLM's
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_audio", "compression_config": stored}))
    assert CompressionConfig.from_pretrained(tmp_path) == LTBMConfig(retention_ratio=0.25)
    (tmp_path / NAME).write_text(json.dumps(stored))
    assert CompressionConfig.from_pretrained(tmp_path) == LTBMConfig(retention_ratio=0.25)


@pytest.mark.parametrize("quantisation", ["awq", " ", 0, False, [], {}])
def test_a_quantisation_is_none_of_our_options(quantisation: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CompressionConfigError, match="'ltbm' has no option 'quant_method'"):
        CompressionConfig.from_dict({"method": "ltbm", "schema_version": 1, "quant_method": quantisation})
    with pytest.raises(CompressionConfigError, match="must have a 'method'"):
        CompressionConfig.from_dict({"quant_method": quantisation, "format": "dense"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"method": "ltbm",}',
        '{"method": ltbm}',
        "\ufeff{}",
        "[]",
        '"ltbm"',
        "null",
        "3",
        '{"method": "stride", "max_tokens": ' + "9" * 5000 + "}",
        '{"method": "stride", "max_tokens": ' + "[" * 100 + "]" * 100 + "}",
        '{"method": "stride", "retention_ratio": NaN}',
        '{"method": "stride", "tokens_per_second": 1e999}',
    ],
    ids=lambda text: text[:40],
)
def test_a_broken_file_is_a_config_error(text: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")
    for path in (file, file.parent):
        with pytest.raises(CompressionConfigError):
            CompressionConfig.from_pretrained(path)


def test_broken_json_names_the_file(file: Path) -> None:
    for content in (b"{", b"\xff\xfe\x00", b'{"method": "\xff"}'):
        file.write_bytes(content)
        with pytest.raises(CompressionConfigError, match=f"{NAME} is not valid JSON"):
            CompressionConfig.from_pretrained(file)


def test_json_nested_without_end_is_a_config_error(file: Path) -> None:
    file.write_text('{"method": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(CompressionConfigError):
        CompressionConfig.from_pretrained(file)


scalars = st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3)
)
likely = st.sampled_from([0.25, 1, 3, "original", "contiguous", None])


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    method=st.sampled_from(METHODS) | anything,
    options=st.dictionaries(st.sampled_from(OPTIONS), likely | anything, max_size=3),
    more=st.dictionaries(st.sampled_from(VERSIONS) | st.text(max_size=9), anything, max_size=1),
)
def test_any_dict_is_read_or_refused(method: Any, options: dict[str, Any], more: dict[str, Any]) -> None:
    try:
        config = CompressionConfig.from_dict({"method": method} | options | more)
    except CompressionConfigError:
        return
    assert type(config) in CLASSES
    assert CompressionConfig.from_dict(json.loads(config.to_json_string())) == config
    if config.deterministic_length:
        assert 1 <= config.output_length(100, 25.0) <= 100


@settings(max_examples=100, deadline=None, derandomize=True)
@given(anything)
def test_any_value_is_read_or_refused(value: Any) -> None:
    with pytest.raises(CompressionConfigError):
        CompressionConfig.from_dict(value if not isinstance(value, dict) else value | {"method": value})
