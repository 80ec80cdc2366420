"""TRL's SFTTrainer, with its defaults: trains compressed, and learns what our own trainer learns."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration, TrainingArguments

import hf_tokcomp
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.training import AudioTextCollator, lora_config, make_trainer

trl = pytest.importorskip("trl")

PROMPT = "Transcribe the digits."
COMMON = {
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "learning_rate": 1e-3,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "seed": 3,
    "remove_unused_columns": False,
}


@pytest.fixture(scope="module")
def rows():
    return [{"audio": str(audio), "text": text} for audio, text in recordings()]


@pytest.fixture
def processor():
    return AutoProcessor.from_pretrained(SMALL_MODEL)


def columns_read(model):
    """Lengths of the prompts that reach the language model."""
    columns = []
    model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: columns.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    return columns


def small_model(compression="average_pooling"):
    return Qwen2AudioForConditionalGeneration.from_pretrained(SMALL_MODEL, compression=compression)


def sft(folder, model, processor, rows, **options):
    arguments = trl.SFTConfig(
        str(folder), **COMMON, bf16=False, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, **options
    )
    torch.manual_seed(3)
    return trl.SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=AudioTextCollator(processor, PROMPT),
        processing_class=processor,
        peft_config=lora_config(model, lora_dropout=0.0),
    )


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("loss", ["nll", "dft"])
def test_it_trains_on_the_short_prompt(tmp_path, processor, rows, loss):
    model = small_model()
    columns = columns_read(model)
    full = AudioTextCollator(processor, PROMPT)(rows)["input_ids"].shape[1]
    trainer = sft(tmp_path, model, processor, rows, loss_type=loss)
    trainer.train()
    assert hf_tokcomp.active_config(trainer.model).method == "average_pooling"
    assert columns
    assert max(columns) < 0.7 * full
    record = model.audio_compressor.last
    assert sum(record.tokens_after) < 0.6 * sum(record.tokens_before)


def test_its_loss_is_the_models_own(tmp_path, processor, rows):
    trainer = sft(tmp_path, small_model(), processor, rows)
    batch = AudioTextCollator(processor, PROMPT)(rows)
    trainer.model.eval()
    with torch.no_grad():
        fused = trainer.model(**batch, fused_lm_head=True).loss
        torch.testing.assert_close(fused, trainer.model(**batch).loss)


def test_it_learns_what_our_trainer_learns(tmp_path, processor, rows):
    theirs = sft(tmp_path / "theirs", small_model(), processor, rows, gradient_checkpointing=False)
    theirs.train()
    model = small_model()
    ours = make_trainer(
        model,
        Dataset.from_list(rows),
        TrainingArguments(str(tmp_path / "ours"), **COMMON),
        processor=processor,
        prompt=PROMPT,
        lora=lora_config(model, lora_dropout=0.0),
    )
    ours.train()
    assert losses(ours) == pytest.approx(losses(theirs), rel=1e-4, abs=1e-5)
