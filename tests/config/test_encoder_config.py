"""The options of the encoder in a config: defaults, the written form, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from drawn import METHODS, config

from hf_tokcomp import CompressionConfig, CompressionConfigError
from hf_tokcomp.cards.words import facts, limits
from hf_tokcomp.config.config import ENCODER
from hf_tokcomp.config.encoder_options import EncoderOptions
from hf_tokcomp.config.notation import parse_config
from hf_tokcomp.models.registry import PATCHES, load_patch

CHANGED: dict[str, Any] = {"skip_padding": False, "encoder_stride": 2, "encoder_merge": 0.25}


def composed(*stages: Any) -> dict[str, Any]:
    return {"method": "compose", "stages": stages}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_them_and_keeps_its_count(method: str) -> None:
    plain = config(method)
    assert plain.encoder == EncoderOptions(skip_padding=method != "none")
    assert not set(ENCODER) & set(plain.to_dict())
    for name in ENCODER:
        value = not plain.skip_padding if name == "skip_padding" else CHANGED[name]
        changed = plain.replace(**{name: value})
        assert changed != plain
        assert changed.to_dict()[name] == value
        assert not changed.is_upstream
        assert CompressionConfig.from_dict(json.loads(changed.to_json_string())) == changed
        assert changed.has_weights_of(plain)
        if plain.deterministic_length:
            before, after = ([config.output_length(n, 25.0) for n in range(80)] for config in (plain, changed))
            assert after == before
    assert plain.is_upstream == (method == "none")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"skip_padding": 1}, "skip_padding=1 must be true or false"),
        ({"encoder_stride": 3}, "encoder_stride=3 must be an integer of at least 1 and at most 2"),
        ({"encoder_stride": 0}, "encoder_stride=0 must be"),
        ({"encoder_stride": 2.0}, "encoder_stride=2.0 must be an integer"),
        ({"encoder_stride": True}, "encoder_stride=True must be an integer"),
        ({"encoder_merge": 0.91}, "encoder_merge=0.91 must be a finite number >= 0 and at most 0.9"),
        ({"encoder_merge": -0.1}, "encoder_merge=-0.1 must be"),
        ({"encoder_merge": "half"}, "encoder_merge='half' must be a finite number"),
        ({"encoder_strid": 2}, "did you mean 'encoder_stride'"),
        (
            {"method": "compose", "stages": [{"method": "ltbm", "encoder_merge": 0.1}]},
            r"stages\[0\]: encoder_merge=0.1",
        ),
        (
            {"method": "compose", "stages": ["ltbm", {"method": "none", "skip_padding": True}]},
            "belongs to compose as a",
        ),
    ],
)
def test_what_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(CompressionConfigError, match=said):
        CompressionConfig(**{"method": "stride"} | values)


def test_in_the_notation_and_on_a_card() -> None:
    parsed = parse_config("ltbm:encoder_stride=2:encoder_merge=0.2:skip_padding=false")
    assert parsed.encoder == EncoderOptions(False, 2, 0.2)
    rows = dict(facts(parsed, load_patch(PATCHES["qwen2_audio"])))
    assert rows["encoder"] == "`encoder_merge` 0.2, `encoder_stride` 2, `skip_padding` False"
    assert "encoder" not in rows["options"]
    assert "encoder" not in dict(facts(config("ltbm"), load_patch(PATCHES["qwen2_audio"])))
    assert any("fewer positions" in line for line in limits(parsed, None, None))
    nothing = limits(config("none"), None, None)
    assert nothing[0].startswith("All tokens are kept: nothing gets faster")
    strided = limits(config("none", encoder_stride=2), None, None)
    assert any("fewer positions" in line for line in strided)
    assert not any("nothing gets faster" in line for line in strided)
