"""A model that speaks is trained as a whole, by its thinker's text, and speaks what it has learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
import spoken_answers
import tiny_whisper
import torch
from result_folders import results_in
from transformers import TrainingArguments

import hf_tokcomp
from hf_tokcomp.cli import main
from hf_tokcomp.inference.asking import Prepared, ask
from hf_tokcomp.inference.speech import Voice
from hf_tokcomp.training import make_trainer

if spoken_answers.PROBLEM is not None:
    pytest.skip(spoken_answers.PROBLEM, allow_module_level=True)
from subjects.checkpoints import folder_of
from subjects.qwen2_5_omni import SUBJECT

pytestmark = pytest.mark.usefixtures("libraries_as_they_were")
HALF = {"method": "average_pooling", "retention_ratio": 0.5}
PROMPT = "please <|audio_bos|> <|AUDIO|> <|audio_eos|> tell me"


def trained(model: Any, rows: Any, folder: Path, **options: Any) -> Any:
    args = TrainingArguments(
        str(folder),
        max_steps=3,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=1e-2,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        save_strategy="no",
        **options,
    )
    trainer = make_trainer(model, rows, args, processor=SUBJECT.make_processor(), compression=HALF, prompt=PROMPT)
    trainer.train()
    return trainer


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}])
def test_it_learns_what_its_thinker_learns_alone(tmp_path: Path, options: dict[str, Any]) -> None:
    rows = [
        {"audio": str(path), "text": text}
        for path, text in zip(spoken_answers.recordings(tmp_path), spoken_answers.TRUTHS, strict=True)
    ]
    whole = SUBJECT.model()
    frozen = {name: value.clone() for name, value in whole.state_dict().items()}
    together = trained(whole, rows, tmp_path / "whole", **options)
    alone = trained(SUBJECT.model().thinker, rows, tmp_path / "part", **options)
    losses = [[log["loss"] for log in trainer.state.log_history if "loss" in log] for trainer in (together, alone)]
    assert len(losses[0]) == 3
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    learned = {name: value for name, value in together.model.named_parameters() if value.requires_grad}
    assert learned
    for name, value in alone.model.named_parameters():
        if value.requires_grad:
            torch.testing.assert_close(
                learned.pop(name.replace("base_model.model.", "base_model.model.thinker.")), value
            )
    assert not learned, "nothing but the thinker's text is trained"
    after = {name.replace(".base_layer", ""): value for name, value in whole.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in frozen.items())


def test_forward_of_the_whole_is_that_of_its_thinker() -> None:
    model, inputs = hf_tokcomp.patch(SUBJECT.model(), HALF), SUBJECT.inputs([[0.4]])
    assert torch.equal(model(**inputs).logits, model.thinker(**inputs).logits)
    loss = model(**inputs, labels=inputs["input_ids"], num_items_in_batch=2).loss
    assert torch.equal(loss, model.thinker(**inputs, labels=inputs["input_ids"], num_items_in_batch=2).loss)
    hf_tokcomp.unpatch(model)
    with pytest.raises(TypeError, match="_forward_unimplemented"):
        model(**inputs)


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    return folder_of("qwen2_5_omni")


def test_finetune_run_and_eval(checkpoint: Path, tmp_path: Path) -> None:
    """From a table to an adapter; the whole model speaks with it, is measured with it, and is saved with it merged."""
    table, adapter = spoken_answers.table(tmp_path), tmp_path / "adapter"
    command = ["finetune", "--model", checkpoint, "--dataset", table, "--eval-dataset", table, "--eval-split", "train"]
    command += ["--task", "translation", "--compression", "average_pooling", "--retention-ratio", "1/2"]
    command += ["--prompt", PROMPT, "--max-steps", 8, "--learning-rate", 0.02, "--per-device-train-batch-size", 3]
    command += ["--max-new-tokens", 4, "--output-dir", adapter, "--use-cpu", "--report-to", "none"]
    assert main([str(word) for word in command]) == 0
    assert (adapter / "metrics.json").is_file()

    model = hf_tokcomp.load_adapter(adapter).eval()
    assert type(model.get_base_model()).__name__ == "Qwen2_5OmniForConditionalGeneration"
    assert hf_tokcomp.active_config(model) == hf_tokcomp.CompressionConfig.from_dict(HALF)
    batch, processor, voice = Prepared(SUBJECT.inputs([[0.4], [0.6]]), [1, 1]), SUBJECT.make_processor(), Voice(None, 4)
    plain = ask(hf_tokcomp.patch(SUBJECT.model(), HALF), processor, batch, 4)
    written, spoken = ask(model, processor, batch, 4), ask(model, processor, batch, 4, voice=voice)
    assert [each.text for each in spoken] == [each.text for each in written]
    assert [each.text for each in written] != [each.text for each in plain]

    model.merge_and_unload().save_pretrained(tmp_path / "merged")
    merged = type(SUBJECT.model()).from_pretrained(tmp_path / "merged").eval()
    again = ask(merged, processor, batch, 4, voice=voice)
    assert [(each.text, each.tokens_after) for each in again] == [(each.text, each.tokens_after) for each in written]

    shared = [*spoken_answers.TEXT, *spoken_answers.SPEECH, "--model", str(adapter)]
    assert main(["run", str(tmp_path / "clip0.wav"), "--speak", str(tmp_path / "said.wav"), *shared]) == 0
    assert soundfile.info(tmp_path / "said.wav").samplerate == 24_000
    whisper = tiny_whisper.save(tmp_path / "whisper")
    listened = ["--asr-model", str(whisper), "--target-language", "en", "--dataset", str(table), "--resamples", "100"]
    assert main(["eval", "s2st", *listened, *shared, "--output", str(tmp_path / "out")]) == 0
    found = results_in(tmp_path / "out")
    assert {(each["method"], each["metric"]) for each in found["scores"]} >= {("none", "asr_bleu"), ("none", "bleu")}
    assert found["tasks"]["s2st"]["prompt"] == PROMPT, "the one that it was trained with"
