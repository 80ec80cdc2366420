"""Configs from somebody who means harm: a config or a `CompressionConfigError`, soon, and nothing else happens."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import CLASSES, DIM, METHODS, REQUIRED, batch, draw, in_time

from hf_tokcomp import AudioTokenCompressor, CompressionConfig, CompressionConfigError
from hf_tokcomp.compressors.compose import MAX_STAGES
from hf_tokcomp.hub.json_text import MAX_BYTES
from hf_tokcomp.messages import shown

NAME = "compression_config.json"
_ = in_time  # a fixture


def refused(folder: Path, text: str | bytes, *words: str) -> str:
    """The message with which a file is refused: short, on few lines, in little time."""
    (folder / NAME).write_bytes(text.encode() if isinstance(text, str) else text)
    begin = time.perf_counter()
    with pytest.raises(CompressionConfigError) as raised:
        CompressionConfig.from_pretrained(folder)
    assert time.perf_counter() - begin < 2
    message = str(raised.value)
    assert len(message) < 2000
    assert "\n" not in message
    assert all(word in message for word in words), message
    return message


def nested(depth: int, inside: str = "1") -> str:
    return "[" * depth + inside + "]" * depth


HOSTILE = {
    "nan": '{"method": "stride", "retention_ratio": NaN}',
    "infinity": '{"method": "stride", "tokens_per_second": Infinity}',
    "minus infinity": '{"method": "stride", "tokens_per_second": -Infinity}',
    "too large a float": '{"method": "stride", "tokens_per_second": 1e999}',
    "21 digits": '{"method": "random", "seed": ' + "9" * 21 + "}",
    "many digits": '{"method": "random", "seed": ' + "9" * 900_000 + "}",
    "many digits behind the point": '{"method": "stride", "retention_ratio": 2.' + "9" * 900_000 + "}",
    "one key twice": '{"method": "stride", "max_tokens": 3, "max_tokens": 9}',
    "another method behind": '{"method": "none", "method": "stride"}',
    "deep value": '{"method": "stride", "max_tokens": ' + nested(50) + "}",
    "deep method": '{"method": ' + nested(900) + "}",
    "too deep to parse": '{"method": ' + nested(400_000) + "}",
    "deep stages": '{"method": "compose", "stages": ' + nested(30, '"none"') + "}",
    "compositions in compositions": '{"method":"compose","stages":[' * 200 + '"none"' + "]}" * 200,
    "a million stages": '{"method": "compose", "stages": [' + ",".join(['"none"'] * 120_000) + "]}",
    "many stages": json.dumps({"method": "compose", "stages": ["none"] * (MAX_STAGES + 1)}),
    "many keys": json.dumps({"method": "stride"} | {f"key{i}": i for i in range(50_000)}),
    "a long key": json.dumps({"method": "stride", "k" * 500_000: 1}),
    "a long method": json.dumps({"method": "m" * 900_000}),
    "a long choice": json.dumps({"method": "stride", "positions": "p" * 900_000}),
    "a list for a choice": json.dumps({"method": "stride", "positions": ["p"] * 9_000}),
    "control characters": '{"method": "stride\\n\\u001b[31mERROR", "max_tokens": 3}',
    "a lone surrogate": '{"method": "\\ud800"}',
    "a null byte": b'{"method": "stride\x00"}',
    "another encoding": '{"method": "stride"}'.encode("utf-16"),
    "a pickle": b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "a script": "import os; os.system('true')",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(name: str, tmp_path: Path) -> None:
    refused(tmp_path, HOSTILE[name])


def test_messages_name_what_is_wrong(tmp_path: Path) -> None:
    refused(tmp_path, HOSTILE["nan"], NAME, "NaN")
    refused(tmp_path, HOSTILE["too large a float"], NAME, "'1e999' is too large")
    refused(tmp_path, HOSTILE["21 digits"], NAME, "21 digits")
    refused(tmp_path, HOSTILE["one key twice"], NAME, "'max_tokens' appears twice")
    refused(tmp_path, HOSTILE["many stages"], f"at most {MAX_STAGES} stages")
    refused(tmp_path, HOSTILE["deep value"], "nested deeper")
    refused(tmp_path, HOSTILE["many keys"], "over 10000 values")


def test_a_large_file_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"method": "stride"}' + " " * (MAX_BYTES - 20)
    (tmp_path / NAME).write_text(text)
    assert CompressionConfig.from_pretrained(tmp_path).method == "stride"
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    refused(tmp_path, text + " ", NAME, "1,048,577 bytes")
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(2**40)  # a terabyte of nothing
    with pytest.raises(CompressionConfigError, match="bytes"):
        CompressionConfig.from_pretrained(tmp_path / NAME)


NAMES = ["os.system", "hf_tokcomp.compressors.ltbm", "antigravity", "__import__", "../ltbm", "builtins:eval"]


@pytest.mark.parametrize("name", NAMES)
def test_no_value_is_imported(name: str, tmp_path: Path) -> None:
    before = set(sys.modules)
    refused(tmp_path, json.dumps({"method": name}), "Unknown compression method")
    for key in ("_target_", "auto_map", "__class__", "compressor_class", "patch_module", "__init__"):
        refused(tmp_path, json.dumps({"method": "stride", key: name}), f"no option '{key}'")
    refused(tmp_path, json.dumps({"method": "compose", "stages": [name]}), "stages[0]: Unknown")
    assert set(sys.modules) == before


def test_dicts_are_held_to_the_same_size() -> None:
    deep: Any = "none"
    for _ in range(100_000):
        deep = [deep]
    for values in ({"method": deep}, {"method": "stride", "max_tokens": deep}, {"method": "compose", "stages": deep}):
        with pytest.raises(CompressionConfigError, match="nested deeper than 8 levels"):
            CompressionConfig.from_dict(values)
    with pytest.raises(CompressionConfigError, match="Unknown compression method"):
        CompressionConfig(method=deep)
    itself: dict[str, Any] = {"method": "compose"}
    itself["stages"] = [itself]
    with pytest.raises(CompressionConfigError, match="nested deeper"):
        CompressionConfig.from_dict(itself)
    with pytest.raises(CompressionConfigError, match="over 10000 values"):
        CompressionConfig.from_dict({"method": "compose", "stages": ["none"] * 1_000_000})


def test_shown_is_short_and_never_fails() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in (10**5000, "x" * 10**6, endless, dict.fromkeys(range(1000), "y" * 500), [[[[[[[1]]]]]]], object()):
        assert len(shown(value)) < 3000
    assert shown("a\nb") == "'a\\nb'"
    assert shown(0.25) == "0.25"


NUMBERS = [5e-324, 1e-300, 1e-9, 1.7e308, 1, 2**53 - 1, 2**53, 2**63, 2**64, 10**400, -1, -(10**400), 0]


def made(cls: type[CompressionConfig], **values: Any) -> CompressionConfig | str:
    """The config, or why there is none."""
    try:
        return CompressionConfig.from_dict({"method": cls.method} | REQUIRED.get(cls.method, {}) | values)
    except CompressionConfigError as error:
        return str(error)


def numeric_options(cls: type[CompressionConfig]) -> list[str]:
    """The options that take a number, found by asking."""
    names = [field.name for field in dataclasses.fields(cls) if field.name not in ("method", "schema_version")]
    return [name for name in names if any(not isinstance(made(cls, **{name: value}), str) for value in (1, 0.5))]


@pytest.mark.parametrize("cls", CLASSES)
def test_any_number_is_refused_or_works(cls: type[CompressionConfig]) -> None:
    """What the config lets through must not fail, hang or eat the memory when audio comes."""
    rng = np.random.default_rng(0)
    tokens = batch([draw(rng, 30), draw(rng, 7)])
    for name in numeric_options(cls):
        for value in NUMBERS:
            config = made(cls, **{name: value})
            if isinstance(config, str):
                assert len(config) < 2000
                continue
            assert CompressionConfig.from_dict(json.loads(config.to_json_string())) == config
            out = AudioTokenCompressor.from_config(config, DIM)(tokens)
            assert torch.isfinite(out.features[0, : out.counts[0]]).all()
            if config.deterministic_length:
                assert [config.output_length(n, 25.0) for n in (30, 7)] == list(out.counts)


def test_every_method_has_such_options() -> None:
    """So that the test above is not empty by mistake."""
    by_method = {cls.method: numeric_options(cls) for cls in CLASSES}
    assert set(by_method) == set(METHODS)
    assert "window" in by_method["ltbm"]
    assert "seed" in by_method["random"]
    assert "retention_ratio" in by_method["stride"]
