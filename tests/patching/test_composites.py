"""A composite, whose `generate` calls that of its parts: its reading part is compressed, and it works on short ids."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import tiny
import torch
from hf_tokcomp.patches.qwen2_audio import Qwen2AudioPatch
from torch import Tensor
from transformers import GenerationMixin, PreTrainedModel, Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

import hf_tokcomp
from hf_tokcomp.models.registry import PATCHES, register_model

CONFIG = {"method": "top_k", "retention_ratio": 0.4, "positions": "original"}


class SpeakingConfig(Qwen2AudioConfig):
    model_type = "speaking"


class SpeakingModel(PreTrainedModel, GenerationMixin):
    """Says what its thinker says, and how many columns the prompt had that it was given."""

    config_class = SpeakingConfig
    _tied_weights_keys = None

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.thinker = Qwen2AudioForConditionalGeneration(config)
        self.post_init()

    def generate(self, input_ids: Tensor | None = None, **kwargs: Any) -> Any:
        thinking = {key.removeprefix("thinker_"): value for key, value in kwargs.items()}
        said = self.thinker.generate(input_ids=input_ids, **thinking)
        return said, input_ids.shape[1]


class SpeakingPatch(Qwen2AudioPatch):
    model_type = "speaking"
    model_classes = ("SpeakingModel",)

    def inner(self, model: Any) -> Any:
        return getattr(model, "thinker", model)

    def composite_call(self, model: Any, call: dict[str, Any]) -> dict[str, Any]:
        own = ("inputs_embeds", "position_ids")
        return {f"thinker_{key}" if key in own else key: value for key, value in call.items()}


PATCH = SpeakingPatch()


@pytest.fixture
def model() -> Iterator[Any]:
    sys.modules.setdefault("composite_patch", sys.modules[__name__])
    register_model("speaking", "composite_patch")
    whole = tiny.model("qwen2_audio")
    composite = SpeakingModel(SpeakingConfig(**whole.config.to_dict()))
    composite.thinker = whole
    yield composite.eval()
    del PATCHES["speaking"]


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    return dict(tiny.inputs("qwen2_audio", [0.9, 0.43]))


def answer(model: Any, inputs: dict[str, Tensor], **options: Any) -> tuple[Any, int]:
    said, columns = model.generate(**inputs, max_new_tokens=4, do_sample=False, **options)
    return said, columns


@pytest.mark.parametrize("way", ["itself", "deepcopy", "pickle"])
def test_it_says_what_its_thinker_says_alone(model: Any, inputs: dict[str, Tensor], way: str) -> None:
    alone = hf_tokcomp.patch(copy.deepcopy(model.thinker), CONFIG)
    wanted = alone.generate(**inputs, max_new_tokens=4, do_sample=False)
    hf_tokcomp.patch(model, CONFIG)
    model = {"itself": lambda m: m, "deepcopy": copy.deepcopy, "pickle": lambda m: pickle.loads(pickle.dumps(m))}[way](
        model
    )
    said, columns = answer(model, inputs)
    assert torch.equal(said, wanted)
    assert columns == alone.audio_compressor.last.columns.shape[1] < inputs["input_ids"].shape[1]
    assert model.audio_compressor is model.thinker.audio_compressor
    assert model.audio_compressor.last.tokens_after == alone.audio_compressor.last.tokens_after
    torch.testing.assert_close(model.thinker(**inputs).logits, alone(**inputs).logits)
    assert torch.equal(model.thinker.generate(**inputs, max_new_tokens=4, do_sample=False), wanted)


def test_a_prompt_that_ends_in_audio_goes_on_behind_all_of_it(model: Any) -> None:
    """Positions behind the prompt are not counted from the last token that was kept."""
    of = tiny.processor("qwen2_audio")
    ending = dict(tiny.process(of, "qwen2_audio", ["what is <|AUDIO|>"], [tiny.sound(0.9)]))
    alone = hf_tokcomp.patch(copy.deepcopy(model.thinker), CONFIG)
    wanted = alone.generate(**ending, max_new_tokens=4, do_sample=False)
    assert alone.audio_compressor.last.columns[0, -1] < ending["input_ids"].shape[1] - 1
    seen: list[int] = []
    hf_tokcomp.patch(model, CONFIG)
    model.thinker.model.language_model.register_forward_pre_hook(
        lambda _, args, call: seen.append(int(call["position_ids"][0, -1])), with_kwargs=True
    )
    assert torch.equal(answer(model, ending)[0], wanted)
    length = ending["input_ids"].shape[1]
    assert seen[1:] == [length, length + 1, length + 2]


def test_its_weights_have_the_compressor_once(model: Any) -> None:
    names = set(model.state_dict())
    hf_tokcomp.patch(model, {"method": "conv_resampler", "retention_ratio": 0.4})
    added = set(model.state_dict()) - names
    assert added
    assert all(name.startswith("audio_compressor.") for name in added)


def test_none_and_unpatch_are_upstream(model: Any, inputs: dict[str, Tensor]) -> None:
    kept = set(model.__dict__), set(model.thinker.__dict__), set(model.thinker.model.__dict__)
    wanted, long = answer(model, inputs)
    for compression in (CONFIG, "none"):
        hf_tokcomp.patch(model, compression)
    said, columns = answer(model, inputs)
    assert torch.equal(said, wanted)
    assert columns == long
    assert model.audio_compressor.last.tokens_before == [22, 11]
    hf_tokcomp.unpatch(model)
    assert (set(model.__dict__), set(model.thinker.__dict__), set(model.thinker.model.__dict__)) == kept
    assert torch.equal(answer(model, inputs)[0], wanted)


def test_its_thinker_is_not_patched_apart(model: Any, inputs: dict[str, Tensor]) -> None:
    hf_tokcomp.patch(model.thinker, "stride")
    hf_tokcomp.patch(model, CONFIG)
    assert model.thinker.audio_compressor is model.audio_compressor
    for change in (lambda: hf_tokcomp.patch(model.thinker, "stride"), lambda: hf_tokcomp.unpatch(model.thinker)):
        with pytest.raises(ValueError, match="part of a SpeakingModel that is patched"):
            change()
    with hf_tokcomp.compressed(model, "stride"):
        assert answer(model, inputs)[1] < inputs["input_ids"].shape[1]
    assert hf_tokcomp.active_config(model).method == "top_k"
