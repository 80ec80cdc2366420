"""Writing configs and reading them back: dicts, JSON, folders, the Hub's cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from drawn import CLASSES, changed, config

from hf_tokcomp import CompressionConfig, LTBMConfig, StrideConfig

NAME = "compression_config.json"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / NAME


@pytest.mark.parametrize("make", [changed, lambda cls: config(cls.method)], ids=["changed", "defaults"])
@pytest.mark.parametrize("cls", CLASSES)
def test_dict_and_file_give_the_config_back(cls: type[CompressionConfig], make: Any, tmp_path: Path) -> None:
    made = make(cls)
    values = made.to_dict()
    assert list(values) == sorted(values)
    assert values["method"] == cls.method
    written = made.save_pretrained(tmp_path / "new" / "folder")
    assert written == tmp_path / "new" / "folder" / NAME
    assert json.loads(written.read_text()) == values
    for twin in (
        CompressionConfig.from_dict(values),
        cls.from_dict(values),
        CompressionConfig.from_dict(json.loads(made.to_json_string())),
        CompressionConfig.from_pretrained(written.parent),
        CompressionConfig.from_pretrained(str(written)),
        CompressionConfig.from_pretrained(tmp_path / "new", subfolder="folder"),
        cls.from_pretrained(written.parent),
    ):
        assert type(twin) is cls
        assert twin == made
        assert twin.to_dict() == values


def test_json_is_flat_sorted_and_readable() -> None:
    config = LTBMConfig(window=8, retention_ratio=0.25, hf_tokcomp_version="1.2.3")
    assert config.to_json_string() == (
        '{\n  "hf_tokcomp_version": "1.2.3",\n  "method": "ltbm",\n  "positions": "contiguous",\n'
        '  "retention_ratio": 0.25,\n  "schema_version": 1,\n  "similarity": "features",\n  "window": 8\n}\n'
    )


def test_saving_leaves_one_file_and_replaces_it(tmp_path: Path) -> None:
    for made in (LTBMConfig(window=3), LTBMConfig(window=4)):
        made.save_pretrained(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [NAME]
        assert CompressionConfig.from_pretrained(tmp_path) == made


def test_saving_into_a_file_raises_and_leaves_it(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(NotADirectoryError, match="is a file; save_pretrained needs the path of a folder"):
        StrideConfig().save_pretrained(taken)
    with pytest.raises(NotADirectoryError):
        StrideConfig().save_pretrained(taken / "below")
    assert taken.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [taken]


def test_what_cannot_be_written_leaves_the_old_file(file: Path) -> None:
    LTBMConfig(window=3).save_pretrained(file.parent)
    before = file.read_text()
    broken = LTBMConfig()
    object.__setattr__(broken, "hf_tokcomp_version", object())
    with pytest.raises(TypeError, match="JSON"):
        broken.save_pretrained(file.parent)
    assert file.read_text() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_rename_that_fails_leaves_nothing_behind(file: Path) -> None:
    file.mkdir()
    with pytest.raises(OSError, match=NAME):
        StrideConfig().save_pretrained(file.parent)
    assert list(file.parent.iterdir()) == [file]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"no {NAME} in {tmp_path}"):
        CompressionConfig.from_pretrained(tmp_path)
    StrideConfig().save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent"):
        CompressionConfig.from_pretrained(tmp_path, subfolder="absent")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        CompressionConfig.from_pretrained(tmp_path / "absent")


def test_a_hub_repository_is_read_from_the_cache(tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--something"
    LTBMConfig(window=3).save_pretrained(repository / "snapshots" / "abc")
    LTBMConfig(window=5).save_pretrained(repository / "snapshots" / "abc" / "inner")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    where: Any = {"cache_dir": tmp_path, "local_files_only": True}
    assert CompressionConfig.from_pretrained("someone/something", **where) == LTBMConfig(window=3)
    assert CompressionConfig.from_pretrained("someone/something", subfolder="inner", **where) == LTBMConfig(window=5)
    with pytest.raises(FileNotFoundError):
        CompressionConfig.from_pretrained("someone/absent", **where)
    with pytest.raises(FileNotFoundError):
        CompressionConfig.from_pretrained("someone/something", revision="other", **where)
