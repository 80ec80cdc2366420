"""What a patched model hands to a method: each field against a slow computation on the unpatched model."""

from __future__ import annotations

import dataclasses

import pytest
import reference
import tiny
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

import hf_tokcomp
from hf_tokcomp import CompressorOutputError
from hf_tokcomp.checkpoints import SMALL_MODEL
from hf_tokcomp.config import registry
from hf_tokcomp.models.dense import dense_weight
from hf_tokcomp.ops import audio_tokens
from hf_tokcomp.prompt.requirements import add_language_model_side


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpyConfig(hf_tokcomp.StrideConfig):
    method: str = "spy"


class Spy(hf_tokcomp.Stride):
    """Keeps every second token and everything it was shown."""

    requires = audio_tokens.NEEDS
    seen = None

    def assign(self, tokens):
        Spy.seen = tokens
        return super().assign(tokens)


@pytest.fixture
def spy(monkeypatch):
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    hf_tokcomp.register_compressor(SpyConfig)(Spy)
    return Spy


def test_every_field_equals_the_slow_one(kind, model, seconds, spy):
    inputs = tiny.inputs(kind, seconds)
    expected = [reference.encode(model, kind, alone) for alone in reference.alone(kind, inputs, seconds)]
    hf_tokcomp.patch(model, "spy")
    model(**inputs)
    seen = spy.seen
    for i, wanted in enumerate(expected):
        n = wanted.counts[0]
        assert seen.counts[i] == n
        for name in ("features", *audio_tokens.PER_TOKEN):
            torch.testing.assert_close(getattr(seen, name)[i, :n], getattr(wanted, name)[0], atol=2e-5, rtol=1e-4)
        words = int(seen.query_lengths[i])
        assert words == wanted.query.shape[1] > 0
        assert torch.equal(seen.query[i, :words], wanted.query[0])
    layer = model.model.language_model.layers[0].self_attn
    assert torch.equal(seen.first_layer.query, layer.q_proj.weight)
    assert torch.equal(seen.first_layer.key, layer.k_proj.weight)
    assert (seen.first_layer.heads, seen.first_layer.key_heads) == (4, 2)
    assert not any(getattr(seen, name).requires_grad for name in (*audio_tokens.PER_TOKEN, "query"))


def test_nothing_is_supplied_that_was_not_asked_for(kind, model, seconds, spy, monkeypatch):
    monkeypatch.setattr(spy, "requires", frozenset())
    hf_tokcomp.patch(model, "spy")
    model(**tiny.inputs(kind, seconds))
    assert all(getattr(spy.seen, name) is None for name in audio_tokens.NEEDS)


def test_several_audios_of_a_prompt_share_its_question(spy):
    model = tiny.model("qwen2_audio")
    processor = tiny.processor("qwen2_audio")
    texts = [tiny.prompt("qwen2_audio", 2, "what is"), tiny.prompt("qwen2_audio", 1, "tell me now please")]
    audio = [tiny.sound(s, seed=i) for i, s in enumerate((0.5, 0.7, 0.6))]
    hf_tokcomp.patch(model, "spy")
    model(**tiny.process(processor, "qwen2_audio", texts, audio))
    lengths = spy.seen.query_lengths.tolist()
    assert lengths[0] == lengths[1] == lengths[2] - 2 + 2  # two more words, and two audio marks less
    assert torch.equal(spy.seen.query[0], spy.seen.query[1])
    assert not torch.equal(spy.seen.query[0], spy.seen.query[2])


def test_the_shipped_model_knows_its_turns(spy):
    model = Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL)
    processor = AutoProcessor.from_pretrained(SMALL_MODEL)
    words = processor.tokenizer("transcribe the digits.")["input_ids"]
    content = [{"type": "audio"}, {"type": "text", "text": "transcribe the digits."}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    hf_tokcomp.patch(model, "spy")
    model(**processor(text=[text], audio=[tiny.sound(1.0)], sampling_rate=16000, return_tensors="pt"))
    assert torch.equal(spy.seen.query[0], model.get_input_embeddings()(torch.tensor(words)))


def test_the_first_layer_of_a_model_with_an_adapter_is_its_own(kind, model, seconds, spy):
    own = model.model.language_model.layers[0].self_attn.q_proj.weight.clone()
    hf_tokcomp.patch(model, "spy")
    lora = LoraConfig(r=2, target_modules=r".*language_model.*\.(q_proj|v_proj)", init_lora_weights=False)
    get_peft_model(model, lora)(**tiny.inputs(kind, seconds))
    assert torch.equal(spy.seen.first_layer.query, own)


@pytest.mark.parametrize("bits", ["Linear4bit", "Linear8bitLt"])
def test_packed_weights_are_unpacked(bits):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    plain = torch.nn.Linear(64, 32, bias=False)
    options = {"has_fp16_weights": False} if bits == "Linear8bitLt" else {}
    packed = getattr(bitsandbytes.nn, bits)(64, 32, bias=False, **options)
    packed.load_state_dict(plain.state_dict())
    try:
        packed = packed.to("cpu")
        weight = dense_weight(packed)
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        pytest.skip(f"bitsandbytes cannot pack on this machine: {error}")
    assert weight.shape == (32, 64)
    assert (weight - plain.weight).abs().max() < 0.05


def test_weights_that_are_not_there_are_an_error():
    with pytest.raises(CompressorOutputError, match="offloaded"):
        dense_weight(torch.nn.Linear(4, 4, device="meta"))
    odd = torch.nn.Linear(4, 4)
    odd.weight = torch.nn.Parameter(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(CompressorOutputError, match="cannot unpack the weights of a Linear"):
        dense_weight(odd)
    with pytest.raises(CompressorOutputError, match="cannot unpack the weights of a Identity"):
        dense_weight(torch.nn.Identity())  # packed weights under another name
    odd.weight = torch.nn.Parameter(torch.zeros(0))
    with pytest.raises(CompressorOutputError, match="sharded"):
        dense_weight(odd)


def test_the_language_models_side_comes_to_the_features_device():
    model = tiny.model("qwen2_audio")
    patch = hf_tokcomp.supported_models()["qwen2_audio"]
    tokens = hf_tokcomp.AudioTokens(torch.zeros(1, 4, 32, device="meta"), torch.tensor([4]), counts=[4])
    inputs = tiny.inputs("qwen2_audio", [0.2])
    needs = frozenset({"query"})
    moved = add_language_model_side(tokens, needs, model, patch, (inputs["input_ids"], inputs["attention_mask"]), [0])
    assert moved.query.device.type == moved.query_lengths.device.type == "meta"
