"""What a patch says of its model is heeded: what it cannot give, cannot take, needs beside, and from when on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
import tiny
import torch
from hf_tokcomp.patches.qwen2_audio import Qwen2AudioPatch

import hf_tokcomp
from hf_tokcomp.models import versions
from hf_tokcomp.models.instance import patch_of

CONFIG = {"method": "stride", "retention_ratio": 0.4}


@pytest.fixture
def patched() -> Any:
    return hf_tokcomp.patch(tiny.model("qwen2_audio"), CONFIG)


@pytest.fixture
def inputs() -> dict[str, Any]:
    return dict(tiny.inputs("qwen2_audio", [0.9, 0.43]))


class TestWhatItCannotGive:
    @pytest.fixture(autouse=True)
    def _deaf(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Qwen2AudioPatch, "supplies", frozenset({"projected", "keys"}))
        monkeypatch.setattr(Qwen2AudioPatch, "unsupplied", "its attention is relative")

    @pytest.mark.parametrize("method", ["top_k", "visionzip", "speechprune"])
    def test_a_method_that_needs_it_is_refused(self, method: str) -> None:
        model = tiny.model("qwen2_audio")
        with pytest.raises(hf_tokcomp.CompressionConfigError) as caught:
            hf_tokcomp.patch(model, method)
        assert f"{method!r} goes by" in str(caught.value)
        assert "its attention is relative. Methods that work there:" in str(caught.value)
        works = str(caught.value).partition("work there: ")[2]
        assert "a_tome" in works
        assert "top_k" not in works
        assert not hasattr(model, "audio_compressor")

    def test_so_is_one_whose_option_needs_it(self) -> None:
        with pytest.raises(hf_tokcomp.CompressionConfigError, match="goes by attention"):
            hf_tokcomp.patch(tiny.model("qwen2_audio"), [{"method": "ltbm"}, {"method": "top_k"}])

    def test_others_work(self, inputs: dict[str, Any]) -> None:
        hf_tokcomp.patch(tiny.model("qwen2_audio"), "a_tome")(**inputs)


def test_from_when_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Qwen2AudioPatch, "since", "99.1.0")
    model = tiny.model("qwen2_audio")
    with pytest.raises(hf_tokcomp.UnsupportedVersionError, match=r"'qwen2_audio' .* from transformers 99\.1\.0 on"):
        hf_tokcomp.patch(model, CONFIG)
    assert "99.1.0" in str(versions.verdict(hf_tokcomp.supported_models()["qwen2_audio"]))
    versions.check_transformers(type(model), hf_tokcomp.supported_models()["audioflamingo3"])


@pytest.mark.parametrize("name", ["pixel_values", "pixel_values_videos"])
@pytest.mark.parametrize("call", ["forward", "generate", "base_model"])
def test_images_beside_audio_are_refused_by_name(patched: Any, inputs: dict[str, Any], call: str, name: str) -> None:
    run = {"forward": patched, "generate": patched.generate, "base_model": patched.base_model}[call]
    with pytest.raises(ValueError, match=f"cannot have `{name}` beside its audio"):
        run(**inputs, **{name: torch.zeros(1, 3, 2, 2)})


def seen_by_upstream(patched: Any, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(type(patched), "forward", lambda self, **call: seen.update(call) or {"logits": None})
    patched(**inputs)
    return seen


def test_what_has_the_prompts_shape_is_shortened(
    patched: Any, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = inputs["input_ids"]
    wide = torch.stack([ids, ids + 1], -1)
    seen = seen_by_upstream(patched, inputs | {"token_type_ids": ids, "wide": wide, "alone": ids[:1]}, monkeypatch)
    columns = patched.audio_compressor.last.columns
    assert (columns < 0).any()
    wanted = ids.gather(1, columns.clamp(min=0)).masked_fill(columns < 0, 0)
    assert torch.equal(seen["token_type_ids"], wanted)
    assert torch.equal(seen["wide"][..., 1], torch.where(columns < 0, 0, wanted + 1))
    assert torch.equal(seen["alone"], ids[:1])


def test_what_the_patch_adds_or_takes_away(
    patched: Any, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = patch_of(patched)
    monkeypatch.setattr(type(own), "beside_features", ("sizes",))
    monkeypatch.setitem(own.__dict__, "audio_keywords", own.audio_keywords | {"sizes"})
    monkeypatch.setattr(
        type(own), "extra_inputs", lambda self, model, call, prompt: {"ids": prompt.input_ids, "given": call["sizes"]}
    )
    seen = seen_by_upstream(patched, inputs | {"sizes": 3}, monkeypatch)
    assert seen["given"] == 3
    assert seen["ids"].shape == seen["inputs_embeds"].shape[:2]
    assert not {"sizes", "input_features", "feature_attention_mask", "input_ids"} & set(seen)


def test_the_context_is_around_upstreams_generate_alone(
    patched: Any, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    @contextmanager
    def around(_self: Any, model: Any, prompt: Any) -> Any:
        seen.append((model, prompt.input_ids.shape[1]))
        yield
        seen.append("left")

    own = type(patched).generate
    monkeypatch.setattr(Qwen2AudioPatch, "generating", around)
    monkeypatch.setattr(type(patched), "generate", lambda *a, **k: seen.append("upstream") or own(*a, **k))
    patched.generate(**inputs, max_new_tokens=2)
    assert seen == [(patched, patched.audio_compressor.last.columns.shape[1]), "upstream", "left"]
    seen.clear()
    text = {name: inputs[name][:, :3] for name in ("attention_mask",)} | {"input_ids": torch.full((2, 3), 9)}
    patched.generate(**text, max_new_tokens=2)
    assert seen == ["upstream"]


def test_a_placeholder_need_not_be_in_the_vocabulary(inputs: dict[str, Any]) -> None:
    model = hf_tokcomp.patch(tiny.model("qwen2_audio"), {"method": "speechprune", "retention_ratio": 0.4})
    wanted = model(**inputs).logits
    beyond, ids = 10**6, inputs["input_ids"]
    ids = ids.masked_fill(ids == model.config.audio_token_id, beyond)
    model.config.audio_token_id = beyond
    torch.testing.assert_close(model(**inputs | {"input_ids": ids}).logits, wanted)
