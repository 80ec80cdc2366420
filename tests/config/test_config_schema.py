"""Files that earlier versions wrote, in `fixtures/schema_<version>/`: they load for ever, and mean what they meant.

A file there is never changed and never deleted. A new method, and a new option, gets one.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from drawn import CLASSES, SHARED
from places import FIXTURES

from hf_tokcomp import CompressionConfig, CompressionConfigError, LTBMConfig
from hf_tokcomp.config.schema import SCHEMA_VERSION

FOLDERS = {int(p.name.removeprefix("schema_")): p for p in FIXTURES.glob("schema_*")}
FILES = sorted(file for folder in FOLDERS.values() for file in folder.glob("*.json"))
VERSIONS = {"schema_version", "hf_tokcomp_version"}


def options(values: dict[str, Any]) -> dict[str, Any]:
    """Without the versions, in the stages, too."""
    return {k: [options(s) for s in v] if k == "stages" else v for k, v in values.items() if k not in VERSIONS}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_file_of_any_earlier_version_loads(file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written = json.loads(file.read_text(encoding="utf-8"))
    config = CompressionConfig.from_pretrained(file)
    assert not caplog.records
    assert options(written) == options(config.to_dict())
    assert config.hf_tokcomp_version == written["hf_tokcomp_version"]
    config.save_pretrained(tmp_path)
    assert CompressionConfig.from_pretrained(tmp_path) == config


def test_every_version_has_its_files() -> None:
    assert set(FOLDERS) == set(range(1, SCHEMA_VERSION + 1))


@pytest.mark.parametrize("cls", CLASSES)
def test_every_option_of_every_method_is_in_a_file(cls: type[CompressionConfig]) -> None:
    kept: set[str] = set()
    for file in FILES:
        values = json.loads(file.read_text(encoding="utf-8"))
        # What all methods share need not be there for each of them.
        kept |= set(values) if values["method"] == cls.method else set(values) & SHARED
    missing = {field.name for field in dataclasses.fields(cls)} - kept
    assert not missing, f"no file in fixtures/schema_{SCHEMA_VERSION} has {missing}: run `make methods`"
    assert any(file.stem == cls.method for file in FILES)


def test_a_newer_file_warns_and_says_upgrade(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = LTBMConfig(window=3).to_dict() | {"schema_version": SCHEMA_VERSION + 1, "shape": "oval"}
    file = tmp_path / "compression_config.json"
    file.write_text(json.dumps(values))
    with caplog.at_level(logging.WARNING):
        config = CompressionConfig.from_pretrained(tmp_path)
    assert config == LTBMConfig(window=3)
    assert config.schema_version == SCHEMA_VERSION
    assert re.search(r"schema version 2.*knows version 1 and ignores shape\..*pip install -U hf-tokcomp", caplog.text)

    file.write_text(json.dumps(values | {"method": "ltbn"}))
    with pytest.raises(CompressionConfigError, match=r"did you mean 'ltbm'.*register.*A newer.*pip install -U"):
        CompressionConfig.from_pretrained(tmp_path)
    file.write_text(json.dumps(values | {"method": "ltbn", "schema_version": SCHEMA_VERSION}))
    with pytest.raises(CompressionConfigError, match="register_compressor") as raised:
        CompressionConfig.from_pretrained(tmp_path)
    assert "Upgrade" not in str(raised.value)


def test_what_a_newer_file_names_cannot_forge_the_log(caplog: pytest.LogCaptureFixture) -> None:
    bad = {f"k{i}": 1 for i in range(200)} | {"a\nERROR all is lost\x1b[31m": 1, "x" * 5000: 1}
    CompressionConfig.from_dict(LTBMConfig().to_dict() | {"schema_version": 2} | bad)
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert "\x1b" not in record.getMessage()
    assert len(record.getMessage()) < 3000
    assert "k99" not in record.getMessage()
    assert "and 182 more" in record.getMessage()
