"""Compressors that learn, in real models: trained by Trainer and PEFT, saved, loaded, and used at other budgets."""

from __future__ import annotations

import drawn
import pytest
import tiny
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from test_training import Rows, enable_checkpointing, labelled
from transformers import Trainer, TrainingArguments

import hf_tokcomp

pytestmark = pytest.mark.parametrize("method", drawn.LEARNED)


@pytest.fixture
def cls(kind):
    return getattr(transformers, hf_tokcomp.supported_models()[kind].model_classes[0])


def config_of(method, **options):
    return {"method": method, **(options or {"retention_ratio": 0.4})}


def lora():
    return LoraConfig(r=2, target_modules=r".*language_model.*\.(q_proj|v_proj)", modules_to_save=["audio_compressor"])


def peft_model(kind, method):
    return get_peft_model(hf_tokcomp.patch(tiny.model(kind), config_of(method)), lora())


def generate(model, kind, seconds):
    return model.generate(**tiny.inputs(kind, seconds), max_new_tokens=3, do_sample=False)


def logits(model, kind, seconds):
    with torch.no_grad():
        return model(**tiny.inputs(kind, seconds)).logits


def test_it_is_as_wide_as_the_features(kind, method):
    model = hf_tokcomp.patch(tiny.model(kind), method)
    assert model.audio_compressor.dim == 32
    assert hf_tokcomp.active_config(model).to_dict() == hf_tokcomp.CompressionConfig(method=method).to_dict()


@pytest.mark.parametrize("positions", ["contiguous", "original"])
def test_the_record(kind, method, positions):
    model = hf_tokcomp.patch(tiny.model(kind), config_of(method, retention_ratio=0.4, positions=positions))
    logits(model, kind, [0.9, 0.5])  # 22 and 12 tokens
    last = model.audio_compressor.last
    assert last.tokens_before == [22, 12]
    assert last.tokens_after == [9, 5]
    assert last.assignment is None
    assert last.times.shape == (2, 9, 2)
    assert last.times[0, 0].tolist() == pytest.approx([0, 3 / 25])
    assert last.times[1, 4].tolist() == pytest.approx([10 / 25, 12 / 25])
    placeholders = tiny.inputs(kind, [0.9, 0.5])["input_ids"][1] == model.config.audio_token_id
    kept = last.columns[1][last.columns[1] >= 0]
    where = placeholders.cumsum(0)[kept[placeholders[kept]]] - 1
    assert where.tolist() == [1, 3, 6, 8, 10]  # (k + 1/2) * 12 / 5


def test_before_training_it_answers_as_average_pooling(kind, method, seconds):
    model = hf_tokcomp.patch(tiny.model(kind), config_of(method))
    plain = hf_tokcomp.patch(tiny.model(kind), config_of("average_pooling"))
    # The same by another way, so within the rounding of float32, which some processors do more of.
    torch.testing.assert_close(logits(model, kind, seconds), logits(plain, kind, seconds), atol=1e-4, rtol=1e-4)


@pytest.mark.grad
@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_weight_learns(kind, method, seconds, checkpointing):
    model = hf_tokcomp.patch(tiny.model(kind), config_of(method)).train()
    drawn.trained(model.audio_compressor)
    if checkpointing:
        enable_checkpointing(model)
    model(**labelled(kind, seconds)).loss.backward()
    for name, weight in model.audio_compressor.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().max() > 0, name
    fresh = hf_tokcomp.patch(tiny.model(kind), config_of(method)).train()
    fresh(**labelled(kind, seconds)).loss.backward()
    moved = [name for name, weight in fresh.audio_compressor.named_parameters() if weight.grad.abs().max() > 0]
    assert moved, "zero layers that keep each other at zero would never learn"


@pytest.mark.grad
def test_trained_by_trainer_and_loaded_again(kind, method, seconds, tmp_path, caplog):
    tiny.model(kind).save_pretrained(tmp_path / "base")
    tiny.processor(kind).save_pretrained(tmp_path / "base")
    base = type(tiny.model(kind)).from_pretrained(tmp_path / "base")
    model = get_peft_model(hf_tokcomp.patch(base, config_of(method)), lora())
    before = {name: value.clone() for name, value in hf_tokcomp.patching.patch.learned_weights(model).items()}
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "run"),
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        max_steps=3,
        save_steps=3,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    Trainer(model=model, args=arguments, train_dataset=Rows(kind)).train()
    trained = model.get_base_model().audio_compressor.modules_to_save["default"].state_dict()
    assert all(not torch.equal(trained[name], before[name]) for name in before), "three steps move every weight"
    wanted = logits(model.eval(), kind, seconds)
    caplog.clear()
    for loaded in (
        hf_tokcomp.load_adapter(tmp_path / "run" / "checkpoint-3"),
        PeftModel.from_pretrained(type(base).from_pretrained(tmp_path / "base"), tmp_path / "run" / "checkpoint-3"),
        type(base).from_pretrained(tmp_path / "run" / "checkpoint-3"),
    ):
        assert hf_tokcomp.active_config(loaded).method == method
        torch.testing.assert_close(logits(loaded.eval(), kind, seconds), wanted, atol=1e-5, rtol=1e-4)
    assert not [r for r in caplog.records if r.name.startswith("hf_tokcomp")]


@pytest.mark.parametrize("options", [{}, {"device_map": "cpu"}, {"dtype": torch.bfloat16}], ids=str)
def test_a_whole_checkpoint(kind, method, cls, seconds, tmp_path, options, caplog):
    model = hf_tokcomp.patch(tiny.model(kind), config_of(method))
    drawn.trained(model.audio_compressor)
    model.save_pretrained(tmp_path)
    loaded = cls.from_pretrained(tmp_path, **options)
    for name, value in model.audio_compressor.state_dict().items():
        assert torch.equal(loaded.audio_compressor.state_dict()[name], value.to(loaded.dtype))
    if loaded.dtype == torch.float32:
        assert torch.equal(generate(loaded, kind, seconds), generate(model, kind, seconds))
    assert not [r for r in caplog.records if r.name.startswith("hf_tokcomp")]


def test_other_sizes_are_an_error(kind, method, cls, tmp_path):
    model = hf_tokcomp.patch(tiny.model(kind), config_of(method))
    model.save_pretrained(tmp_path)
    other = {"layers": 3} if method == "conv_resampler" else {"heads": 3}
    with pytest.raises(hf_tokcomp.CompressorWeightsError, match="do not fit"):
        cls.from_pretrained(tmp_path, compression={"method": method, **other})


def test_a_plain_checkpoint_says_that_nothing_was_trained(kind, method, cls, tmp_path, caplog):
    tiny.model(kind).save_pretrained(tmp_path)
    cls.from_pretrained(tmp_path, compression=method)
    assert f"No weights were found for the {method!r} compressor: they are newly initialized" in caplog.text


def test_another_budget_keeps_the_weights(kind, method, seconds, caplog):
    """One adapter is trained on several ratios, and measured at each."""
    model = hf_tokcomp.patch(tiny.model(kind), config_of(method))
    compressor = drawn.trained(model.audio_compressor)
    expected = logits(model, kind, seconds)
    other = config_of(method, max_tokens=3)
    with hf_tokcomp.compressed(model, other):
        assert model.audio_compressor is compressor
        inside = logits(model, kind, seconds)
        assert max(model.audio_compressor.last.tokens_after) == 3
    assert torch.equal(logits(model, kind, seconds), expected)
    with hf_tokcomp.compressed(model, "stride"), hf_tokcomp.compressed(model, other):
        assert model.audio_compressor is not compressor, "those of the block were fresh"
    assert model.audio_compressor is compressor
    assert hf_tokcomp.active_config(model) == hf_tokcomp.CompressionConfig.from_dict(config_of(method))
    hf_tokcomp.patch(model, other)
    assert model.audio_compressor is compressor
    assert model.config.compression_config["max_tokens"] == 3
    assert torch.equal(logits(model, kind, seconds), inside)
    assert not caplog.records


def test_a_block_draws_nothing_on_its_way_back(kind, method):
    model = hf_tokcomp.patch(tiny.model(kind), config_of(method))
    with hf_tokcomp.compressed(model, "stride"):
        state = torch.get_rng_state()
    assert torch.equal(torch.get_rng_state(), state)


def test_another_budget_under_peft(kind, method, seconds):
    model = peft_model(kind, method)
    wrapper = model.get_base_model().audio_compressor
    drawn.trained(wrapper.modules_to_save["default"])
    trained = logits(model, kind, seconds)
    hf_tokcomp.patch(model, config_of(method, max_tokens=3))
    assert model.get_base_model().audio_compressor is wrapper
    few = logits(model, kind, seconds)
    assert max(wrapper.last.tokens_after) == 3
    with model.disable_adapter():
        logits(model, kind, seconds)
        assert max(wrapper.last.tokens_after) == 3
    with hf_tokcomp.compressed(model, config_of(method)):
        assert torch.equal(logits(model, kind, seconds), trained)
    assert torch.equal(logits(model, kind, seconds), few)


def test_another_size_makes_new_weights_and_says_so(kind, method, caplog):
    model = hf_tokcomp.patch(tiny.model(kind), config_of(method))
    compressor = model.audio_compressor
    hf_tokcomp.patch(model, {"method": method, **({"layers": 3} if method == "conv_resampler" else {"heads": 3})})
    assert model.audio_compressor is not compressor
    assert "discarded its weights" in caplog.text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(kind, method, seconds, dtype):
    model = hf_tokcomp.patch(tiny.model(kind).to(dtype), config_of(method))
    assert {p.dtype for p in model.audio_compressor.parameters()} == {dtype}
    prompt = dict(tiny.inputs(kind, seconds))
    prompt["input_features"] = prompt["input_features"].to(dtype)
    assert model(**prompt).logits.isfinite().all()


def test_a_ratio_of_one_is_the_plain_model_even_when_trained(kind, method, seconds):
    expected = generate(tiny.model(kind), kind, seconds)
    model = hf_tokcomp.patch(tiny.model(kind), config_of(method, retention_ratio=1.0))
    drawn.trained(model.audio_compressor)
    assert torch.equal(generate(model, kind, seconds), expected)


def test_the_processor_announces_the_count(kind, method, seconds):
    config = config_of(method)
    processor = hf_tokcomp.patch(tiny.processor(kind), config)
    short = tiny.inputs(kind, seconds, of=processor)
    model = hf_tokcomp.patch(tiny.model(kind), config)
    drawn.trained(model.audio_compressor)
    full = generate(model, kind, seconds)
    out = model.generate(**short, max_new_tokens=3, do_sample=False)
    assert torch.equal(out[:, -3:], full[:, -3:])


def test_on_the_meta_device(kind, method):
    """The width is known before there are weights."""
    with torch.device("meta"):
        model = type(tiny.model(kind))(tiny.model(kind).config)
    hf_tokcomp.patch(model, method)
    assert model.audio_compressor.dim == 32
