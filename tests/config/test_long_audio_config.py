"""`long_audio` in a config: the default, the written form, what is refused, and what is said about it."""

from __future__ import annotations

import json

import pytest
from drawn import METHODS, config

from hf_tokcomp import CompressionConfig, CompressionConfigError
from hf_tokcomp.cards.words import facts
from hf_tokcomp.config.notation import config_at, parse_config
from hf_tokcomp.evaluation.plan import plan
from hf_tokcomp.models.registry import PATCHES, load_patch

WINDOWED = {"method": "ltbm", "max_tokens": 750, "long_audio": "windows"}


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"none"}))
def test_every_method_takes_it(method: str) -> None:
    plain = config(method)
    assert plain.long_audio == "cut"
    assert "long_audio" not in plain.to_dict()
    changed = plain.replace(long_audio="windows")
    assert changed != plain
    assert changed.to_dict() == plain.to_dict() | {"long_audio": "windows"}
    assert CompressionConfig.from_dict(json.loads(changed.to_json_string())) == changed
    assert changed.has_weights_of(plain)
    assert not changed.is_upstream


def test_none_refuses_it_and_names_what_keeps_all() -> None:
    with pytest.raises(CompressionConfigError, match="'none' is upstream's model") as refused:
        CompressionConfig(method="none", long_audio="windows")
    advised = str(refused.value).rpartition("use a method that drops none: ")[2].rstrip(".").replace("'", '"')
    kept = CompressionConfig.from_dict(json.loads(advised))
    assert kept.output_length(1600) == 1600
    assert kept.long_audio == "windows"
    assert CompressionConfig(method="none", long_audio="cut").is_upstream


def test_values_and_stages() -> None:
    with pytest.raises(CompressionConfigError, match=r"long_audio='all' must be one of \('cut', 'windows'\)"):
        CompressionConfig(method="ltbm", long_audio="all")
    with pytest.raises(
        CompressionConfigError, match=r"stages\[1\]: long_audio='windows' belongs to compose as a whole"
    ):
        CompressionConfig(method="compose", stages=["stride", WINDOWED])
    assert CompressionConfig(method="compose", stages=["stride"], long_audio="windows").long_audio == "windows"


def test_as_text() -> None:
    assert parse_config("ltbm:max_tokens=750:long_audio=windows") == CompressionConfig(**WINDOWED)
    assert (
        config_at("ltbm:long_audio=windows", 0.25).to_dict().items()
        >= {"long_audio": "windows", "retention_ratio": 0.25}.items()
    )


def test_all_tokens_of_all_windows_are_not_none() -> None:
    """At a ratio of 1, `none` stands for a method, but not for one that reads more of the recording."""
    runs, _ = plan(["stride", "stride:long_audio=windows"], [1.0, 0.5], ["original"], 1)
    assert [run.key for run in runs] == [
        "none@1",
        "stride@0.5/original",
        "stride:long_audio=windows@1/original",
        "stride:long_audio=windows@0.5/original",
    ]
    assert [run.config.long_audio for run in runs] == ["cut", "cut", "windows", "windows"]


def test_cards_say_it() -> None:
    rows = dict(facts(CompressionConfig(**WINDOWED), load_patch(PATCHES["qwen2_audio"])))
    assert rows["long audio"] == "in windows, which share one budget; the processor must be patched, too"
    assert "options" not in rows or "long_audio" not in rows["options"]
    assert "long audio" not in dict(facts(CompressionConfig(method="ltbm"), load_patch(PATCHES["qwen2_audio"])))
