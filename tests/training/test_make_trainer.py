"""make_trainer: a Trainer, of what it is made, and what it saves."""

from __future__ import annotations

import copy

import pytest
import tiny
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from training_tools import (
    POOLING,
    PROMPT,
    adapter_weights,
    arguments,
    plain_processor,
    rows,
    same,
    trainer,
)
from transformers import Trainer

import hf_tokcomp
from hf_tokcomp import active_config
from hf_tokcomp.training import AudioTextCollator, lora_config, make_trainer

METHODS = list(hf_tokcomp.methods())


def test_pieces_of_a_model_are_not_asked_to_generate(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    given = {"processor": plain_processor("qwen2_audio"), "compression": POOLING, "prompt": PROMPT}
    model = tiny.model("qwen2_audio")
    with pytest.raises(ValueError, match="cannot generate"):
        make_trainer(model, rows(4), arguments(tmp_path), task="asr", eval_dataset=rows(2), **given)
    assert active_config(model) is None


def test_it_is_a_trainer_and_args_stay_as_they_are(kind, tmp_path):
    args = arguments(tmp_path)
    before = copy.deepcopy(args.to_dict())
    model = tiny.model(kind)
    given = rows(4)
    run = make_trainer(model, given, args, processor=plain_processor(kind), compression=POOLING, prompt=PROMPT)
    assert isinstance(run, Trainer)
    assert args.to_dict() == before
    changed = {name for name, value in run.args.to_dict().items() if value != before[name]}
    assert changed == {"remove_unused_columns", "label_names", "prediction_loss_only", "ddp_find_unused_parameters"}
    assert run.train_dataset is given
    assert type(run.data_collator) is AudioTextCollator
    assert isinstance(run.model, PeftModel)
    assert run.model.get_base_model() is model
    assert active_config(run.model).to_dict().items() >= POOLING.items()


def test_what_the_model_is_decides(tmp_path):
    """Unpatched it gets `none`; patched or in PEFT it stays, unless told otherwise."""
    make = {"kind": "qwen2_audio", "folder": tmp_path}
    assert active_config(trainer(**make, compression=None).model).method == "none"
    patched = hf_tokcomp.patch(tiny.model("qwen2_audio"), "stride")
    compressor = patched.audio_compressor
    assert trainer(**make, compression=None, model=patched).model.get_base_model().audio_compressor is compressor
    peft_model = get_peft_model(patched, LoraConfig(r=3, target_modules=["q_proj"]))
    run = trainer(**make, compression=None, model=peft_model)
    assert run.model is peft_model
    assert active_config(peft_model).method == "stride"
    assert list(peft_model.peft_config) == ["default"]
    run = trainer(**make, compression="ltbm", model=peft_model)
    assert active_config(run.model).method == "ltbm"


def test_which_adapter(tmp_path):
    run = trainer("qwen2_audio", tmp_path)
    assert run.model.peft_config["default"].r == lora_config(tiny.model("qwen2_audio")).r == 16
    given = LoraConfig(r=3, target_modules=["v_proj"])
    assert trainer("qwen2_audio", tmp_path, lora=given).model.peft_config["default"] is given


def test_the_adapter_begins_as_the_seed_says(tmp_path):
    def first(seed, state):
        torch.manual_seed(state)
        return adapter_weights(trainer("qwen2_audio", tmp_path, args={"seed": seed}).model)

    same(first(0, 1), first(0, 2), atol=0, rtol=0)
    name, value = next((n, v) for n, v in first(0, 1).items() if "lora_A" in n)
    assert not torch.equal(value, first(5, 1)[name])


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="pass eval_dataset, too"):
        trainer("qwen2_audio", tmp_path, task="asr")
    with pytest.raises(hf_tokcomp.UnsupportedModelError, match="Supported: qwen2_audio"):
        trainer("qwen2_audio", tmp_path, model=torch.nn.Linear(1, 1))
    with pytest.raises(hf_tokcomp.CompressionConfigError, match="average_pooling"):
        trainer("qwen2_audio", tmp_path, compression="average_poling")


def test_a_compute_metrics_of_ones_own_is_called(tmp_path):
    seen = []

    def compute(result):
        seen.append(result.predictions.shape)
        return {"mine": 0.5}

    def shorter(logits, labels):
        return logits[0].argmax(-1) if isinstance(logits, tuple) else logits.argmax(-1)

    run = trainer(
        "qwen2_audio", tmp_path, eval_dataset=rows(4), compute_metrics=compute, preprocess_logits_for_metrics=shorter
    )
    metrics = run.evaluate()
    assert metrics["eval_mine"] == 0.5
    assert seen


def test_the_saved_folder_is_the_model(kind, tmp_path):
    base, out = tmp_path / "base", tmp_path / "out"
    tiny.model(kind).save_pretrained(base)
    model = hf_tokcomp.supported_models()[kind].model_classes[0]
    model = getattr(__import__("transformers"), model).from_pretrained(base)
    run = trainer(kind, out, POOLING, model)
    run.train()
    run.save_model()
    names = {file.name for file in out.iterdir()}
    assert names >= {
        "adapter_config.json",
        "adapter_model.safetensors",
        "compression_config.json",
        "processor_config.json",
        "tokenizer.json",
    }
    batch = AudioTextCollator(plain_processor(kind), PROMPT)(rows(3))
    loaded = hf_tokcomp.load_adapter(out)
    with torch.no_grad():
        expected = run.model.eval()(**batch).logits
        assert torch.equal(loaded(**batch).logits, expected)
        with run.model.disable_adapter():
            assert not torch.allclose(run.model(**batch).logits, expected, atol=1e-3)
    from transformers import AutoProcessor

    again = AutoProcessor.from_pretrained(out)
    again.chat_template = None  # Qwen2-Audio's comes back of itself
    for name, value in AudioTextCollator(again, PROMPT)(rows(3)).items():
        assert torch.equal(value, batch[name])
