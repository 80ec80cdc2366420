"""Parts of composites: a thinker loaded from the checkpoint of the whole, and composites that nobody has patched."""

from __future__ import annotations

import importlib
import json
import logging
from pathlib import Path
from typing import Any

import peft
import pytest
import tiny
import torch
from speaking import COMPOSITES, Speaking, speaking
from transformers import PretrainedConfig, PreTrainedModel, Qwen2AudioForConditionalGeneration

import hf_tokcomp
from hf_tokcomp.inference.reader import Reader
from hf_tokcomp.models.instance import COMPOSITE
from hf_tokcomp.training import lora_config

LEARNED = {"method": "conv_resampler", "retention_ratio": 0.5}
QUARTER = LEARNED | {"retention_ratio": 0.25}


def as_if_trained(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight), alpha=0.3)


class TestFromTheWholesCheckpoint:
    @pytest.fixture(params=COMPOSITES)
    def one(self, request: pytest.FixtureRequest) -> Speaking:
        return speaking(request.param)

    @pytest.fixture
    def whole(self, one: Speaking, tmp_path: Path) -> Any:
        """Saved, compressed by a method with weights."""
        model = hf_tokcomp.patch(one.subject.model(), LEARNED)
        as_if_trained(model.audio_compressor)
        model.save_pretrained(tmp_path)
        return model

    def test_the_thinker_has_the_wholes_weights_and_compression(
        self, one: Speaking, whole: Any, tmp_path: Path
    ) -> None:
        thinker, info = type(whole.thinker).from_pretrained(tmp_path, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert type(thinker.config) is type(whole.thinker.config)
        assert hf_tokcomp.active_config(thinker) == hf_tokcomp.active_config(whole)
        inputs = one.subject.inputs([[0.9, 0.3]])
        with torch.no_grad():
            torch.testing.assert_close(thinker.eval()(**inputs).logits, whole.thinker(**inputs).logits)
        thinker.save_pretrained(tmp_path / "alone")
        again = type(thinker).from_pretrained(tmp_path / "alone").eval()
        with torch.no_grad():
            torch.testing.assert_close(again(**inputs).logits, whole.thinker(**inputs).logits)

    def test_the_keyword_comes_before_it(
        self, one: Speaking, whole: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            thinker = type(whole.thinker).from_pretrained(tmp_path, compression=QUARTER).eval()
        assert "The checkpoint's compression" in caplog.text
        assert hf_tokcomp.active_config(thinker).retention_ratio == 0.25
        inputs = one.subject.inputs([[0.9, 0.3]])
        wanted = hf_tokcomp.patch(whole, QUARTER).thinker.generate(**inputs, max_new_tokens=4, do_sample=False)
        assert torch.equal(thinker.generate(**inputs, max_new_tokens=4, do_sample=False), wanted)
        plain = type(whole.thinker).from_pretrained(tmp_path, compression=None)
        assert hf_tokcomp.active_config(plain) is None

    def test_an_adapter_of_the_thinker_goes_onto_the_thinker(self, one: Speaking, whole: Any, tmp_path: Path) -> None:
        thinker = type(whole.thinker).from_pretrained(tmp_path)
        adapted = peft.get_peft_model(thinker, lora_config(thinker)).eval()
        as_if_trained(adapted)
        adapted.save_pretrained(tmp_path / "adapter")
        loaded = hf_tokcomp.load_adapter(tmp_path / "adapter", base=tmp_path).eval()
        assert type(loaded.get_base_model()) is type(thinker)
        inputs = one.subject.inputs([[0.9, 0.3]])
        with torch.no_grad():
            torch.testing.assert_close(loaded(**inputs).logits, adapted(**inputs).logits)


class WholeConfig(PretrainedConfig):
    model_type = "unheard_of"
    sub_configs = {"ears_config": type(tiny.model("qwen2_audio").config)}  # noqa: RUF012

    def __init__(self, ears_config: Any = None, **kwargs: Any) -> None:
        sub = self.sub_configs["ears_config"]
        self.ears_config = sub(**ears_config) if isinstance(ears_config, dict) else ears_config or sub()
        super().__init__(**kwargs)


class Whole(PreTrainedModel):
    config_class = WholeConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.ears = Qwen2AudioForConditionalGeneration(config.ears_config)
        self.post_init()


class TestUnheardOfComposites:
    @pytest.fixture
    def whole(self) -> Any:
        return Whole(WholeConfig(tiny.model("qwen2_audio").config.to_dict()))

    def test_patch_names_the_part(self, whole: Any) -> None:
        before = set(whole.__dict__), set(whole.ears.__dict__)
        with pytest.raises(hf_tokcomp.UnsupportedModelError, match=r"Whole is not .*patch\(model.ears, \.\.\.\)"):
            hf_tokcomp.patch(whole, "stride")
        assert (set(whole.__dict__), set(whole.ears.__dict__)) == before
        hf_tokcomp.patch(whole.ears, "stride")
        with pytest.raises(hf_tokcomp.UnsupportedModelError, match=r"hf_tokcomp.patch\(model.ears,"):
            lora_config(whole)

    def test_loading_names_the_parts_class(self, whole: Any, tmp_path: Path) -> None:
        whole.save_pretrained(tmp_path)
        wanted = r"Its ears is: load it alone, as Qwen2AudioForConditionalGeneration, or .*patch\(model.ears, ...\)"
        with pytest.raises(hf_tokcomp.UnsupportedModelError, match=f"Whole is not supported. {wanted}"):
            Whole.from_pretrained(tmp_path, compression="stride")
        assert type(Whole.from_pretrained(tmp_path)) is Whole
        alone = {"model_type": "unheard_of", "ears_config": {"model_type": "qwen2_audio"}}
        (tmp_path / "adapter").mkdir()
        (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
        (tmp_path / "config.json").write_text(json.dumps(alone))
        with pytest.raises(hf_tokcomp.UnsupportedModelError, match=f"is of type 'unheard_of'.* {wanted}"):
            hf_tokcomp.load_adapter(tmp_path / "adapter", base=tmp_path)

    def test_so_does_the_reader(self, whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        whole.save_pretrained(tmp_path)
        auto = importlib.import_module("transformers").AutoConfig
        auto.register("unheard_of", WholeConfig, exist_ok=True)
        with pytest.raises(hf_tokcomp.UnsupportedModelError, match="Its ears is: load it alone"):
            Reader(str(tmp_path))

    def test_a_part_without_a_patch_changes_nothing(self) -> None:
        class Deaf(PreTrainedModel):
            config_class = PretrainedConfig

        with pytest.raises(hf_tokcomp.UnsupportedModelError, match=r"Deaf is not supported. Supported: qwen2_audio"):
            hf_tokcomp.patch(Deaf(PretrainedConfig()), "stride")


def test_a_part_knows_its_whole() -> None:
    one = speaking(COMPOSITES[0])
    model = hf_tokcomp.patch(one.subject.model(), LEARNED)
    assert model.thinker.__dict__[COMPOSITE] is model
    with pytest.raises(ValueError, match=r"that of the Qwen2_5OmniForConditionalGeneration.*adapt the whole"):
        lora_config(model.thinker)
