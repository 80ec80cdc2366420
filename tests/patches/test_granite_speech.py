"""Granite Speech's own adapter is on for audio and off for text, whether the audio is compressed or not."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
from subjects import parts
from subjects.granite_speech import SUBJECT
from transformers.integrations import peft as upstreams_peft

import hf_tokcomp
from hf_tokcomp import CompressionConfigError
from hf_tokcomp.config.registry import methods
from hf_tokcomp.models.cache_names import CACHE, cache_of

ALL = {"method": "stride", "retention_ratio": 1.0}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    """With an adapter, as the checkpoints have one."""
    # transformers 5.24 demands a peft that was not published then, for nothing that this test does.
    monkeypatch.setattr(upstreams_peft, "MIN_PEFT_VERSION", peft.__version__)
    found = SUBJECT.model()
    torch.manual_seed(0)
    targets = dict(SUBJECT.patch.lora_targets)["language_model"]
    found.add_adapter(peft.LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
    found.config.has_lora_adapter = True
    return found.eval()


def answer(model: Any, inputs: dict[str, Any], **options: Any) -> Any:
    found = model.generate(**inputs, max_new_tokens=8, do_sample=False, **options)
    return found[:, inputs["input_ids"].shape[1] :].tolist()


def switched_off(model: Any) -> bool:
    return any(layer.disable_adapters for layer in model.modules() if isinstance(layer, peft.tuners.lora.LoraLayer))


@torch.no_grad()
@pytest.mark.parametrize(("layout", "beams"), [("several audios", 1), ("ragged", 2)])  # upstream's beams mix up several
def test_all_tokens_are_upstreams_with_the_adapter(model: Any, layout: str, beams: int) -> None:
    inputs, without = SUBJECT.inputs(SUBJECT.layouts[layout]), SUBJECT.model()
    wanted = answer(model, inputs, num_beams=beams)
    assert wanted != answer(without, inputs, num_beams=beams)  # else the adapter would show nothing
    text = parts.tokenizer(["<|audio|>"])("what is this", return_tensors="pt")
    text = {name: text[name] for name in ("input_ids", "attention_mask")}
    wanted_of_text = answer(without, text)
    hf_tokcomp.patch(model, ALL)
    for _ in range(2):  # text between two audios switches the adapter off
        assert answer(model, inputs, num_beams=beams) == wanted
        assert not switched_off(model)
        assert answer(model, text) == wanted_of_text
        assert switched_off(model)


@torch.no_grad()
def test_it_stays_on_where_a_cache_holds_audio(model: Any) -> None:
    hf_tokcomp.patch(model, {"method": "average_pooling", "retention_ratio": 0.5})
    inputs = SUBJECT.inputs(SUBJECT.plain)
    wanted = answer(model, inputs)
    outputs = model(**inputs, use_cache=True)
    first = torch.tensor([row[:1] for row in wanted])
    ids = torch.cat([inputs["input_ids"], first], 1)
    mask = torch.cat([inputs["attention_mask"], torch.ones_like(first)], 1)
    more = model.generate(ids, attention_mask=mask, **{CACHE: cache_of(outputs)}, max_new_tokens=7, do_sample=False)
    assert more[:, inputs["input_ids"].shape[1] :].tolist() == wanted


@torch.no_grad()
def test_an_error_leaves_the_switch_as_it_was(model: Any) -> None:
    hf_tokcomp.patch(model, ALL)
    with pytest.raises(RuntimeError, match="negative dimension"):
        model.generate(**SUBJECT.inputs(SUBJECT.plain), num_beams=-1, max_new_tokens=1)
    assert "disable_adapters" not in model.__dict__


def test_methods_that_look_at_the_encoders_attention_are_refused() -> None:
    model = SUBJECT.model()
    refused = []
    for name, method in methods().items():
        if not method.needs <= SUBJECT.patch.supplies:
            refused.append(name)
            with pytest.raises(CompressionConfigError, match=r"relative positions.+Methods that work there: .*stride"):
                hf_tokcomp.patch(model, name)
            assert getattr(model, "audio_compressor", None) is None
    assert "top_k" in refused
    assert "average_pooling" not in refused


def test_a_picture_shows_its_frames_one_after_another() -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from hf_tokcomp.plotting.reading import spectrogram_of

    processor, inputs = SUBJECT.make_processor(), SUBJECT.inputs([[0.9]])
    drawn = spectrogram_of(processor, SUBJECT.patch, inputs, 0.9)
    stacked = inputs["input_features"][0]  # (time, two frames of 80 bins)
    assert drawn.values.shape == (80, 2 * len(stacked))
    for frame in (0, 1, 88, 89):
        wanted = stacked[frame // 2, 80 * (frame % 2) :][:80]
        assert torch.equal(torch.tensor(drawn.values[:, frame]).float(), wanted)
    assert drawn.frequencies is None


@torch.no_grad()
def test_the_mask_counts_tokens_and_must_be_there() -> None:
    inputs, model = SUBJECT.inputs([[0.9], [0.43]]), hf_tokcomp.patch(SUBJECT.model(), ALL)
    model(**inputs)
    assert model.audio_compressor.last.tokens_before == [9, 6]  # 45 and 22 positions, three tokens of 15
    del inputs["input_features_mask"]
    with pytest.raises(ValueError, match="Pass `input_features_mask`"):
        model(**inputs)


def test_tokens_are_counted_from_samples_as_the_processor_does() -> None:
    processor = SUBJECT.make_processor()
    for samples in (0, 159, 160, 4640, 4800, 4960, 9440, 9600, 16000, 16001):
        frames = SUBJECT.patch.mel_frames(processor, samples)
        wanted = processor.audio_processor._get_num_audio_features([samples])
        assert [SUBJECT.patch.window_tokens(frames)] == wanted, samples
    assert SUBJECT.patch.sampling_rate(processor) == 16000
