"""Callbacks: tokens kept beside the loss, metrics from real answers, our card in checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import tiny
from training_tools import POOLING, PROMPT, plain_processor, rows, small_lora, trainer
from transformers import TrainerCallback

import hf_tokcomp
from hf_tokcomp.training import AudioTextCollator, CardWriter, GenerationMetrics, RetentionSchedule, answer
from hf_tokcomp.training.callbacks import metric_of


def logged(run, name):
    return [(entry["step"], entry[name]) for entry in run.state.log_history if name in entry]


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
def test_tokens_kept_are_logged_beside_the_loss(kind, tmp_path, strategy):
    """Of every batch since the last time, also of those that are only accumulated; and the loss is still logged."""
    schedule = RetentionSchedule([0.2, 0.7], seed=0)
    args = {"eval_strategy": "steps", "eval_steps": 1}  # whose log is another one
    args |= {"max_steps": 4, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "logging_steps": 2}
    given = rows(8)
    if kind == "audioflamingo3":
        given[0]["audio"] = tiny.sound(2.5)
    kept = []

    class Watch(TrainerCallback):
        def on_substep_end(self, args, state, control, model=None, **_):
            last = model.get_base_model().audio_compressor.last
            kept.append((sum(last.tokens_before), sum(last.tokens_after)))

        on_step_end = on_substep_end

    args["logging_strategy"] = strategy
    run = trainer(kind, tmp_path, callbacks=[schedule, Watch()], train=given, eval_dataset=rows(1), args=args)
    run.train()
    pairs = [(kept[i : i + 4]) for i in (0, 4)]  # 2 steps of 2 batches; an epoch has as many
    expected = [round(sum(after for _, after in four) / sum(before for before, _ in four), 4) for four in pairs]
    assert expected[0] != expected[1]
    assert logged(run, "tokens_kept") == list(zip((2, 4), expected, strict=True))
    assert [step for step, _ in logged(run, "loss")] == [2, 4]
    assert all(loss > 0 for _, loss in logged(run, "loss"))


def test_metrics_are_those_of_the_answers(kind, tmp_path):
    held_out = rows(3)
    run = trainer(kind, tmp_path, task="asr", eval_dataset=held_out, max_new_tokens=3)
    metrics = run.evaluate()
    collator = AudioTextCollator(plain_processor(kind), PROMPT)
    found = answer(run.model, collator, held_out, batch_size=1, max_new_tokens=3)
    expected = metric_of("asr")([row["text"] for row in held_out], [given.text for given in found])
    kept = sum(given.tokens_after for given in found) / sum(given.tokens_before for given in found)
    expected["tokens_kept"] = round(kept, 4)
    assert {name: metrics[f"eval_{name}"] for name in expected} == expected
    assert metrics["eval_loss"] > 0
    assert logged(run, "eval_wer") == [(0, expected["wer"])]
    measure = next(c for c in run.callback_handler.callbacks if isinstance(c, GenerationMetrics))
    assert measure.answers == found


def test_a_metric_of_ones_own():
    seen = {}

    def longest(truths, texts):
        seen.update(truths=truths, texts=texts)
        return {"longest": float(max(map(len, texts)))}

    model = hf_tokcomp.patch(tiny.model("qwen2_audio"), POOLING)
    measure = GenerationMetrics(AudioTextCollator(plain_processor("qwen2_audio"), PROMPT), longest)
    values = measure.measure(model, rows(2))
    assert seen == {"truths": [row["text"] for row in rows(2)], "texts": [given.text for given in measure.answers]}
    assert values["longest"] == max(len(given.text) for given in measure.answers)
    known = "asr, translation, captioning, question_answering, multiple_choice"
    with pytest.raises(ValueError, match=f"no task 'singing'; there are {known}"):
        GenerationMetrics(measure.collator, "singing")


def test_the_best_model_by_word_errors_is_loaded_at_the_end(tmp_path):
    """The metric is made to fall and to rise again, so that the best is neither the first nor the last."""
    wers = iter([0.9, 0.3, 0.8])
    weights = []

    def metric(truths, texts):
        weights.append(run.model.state_dict()[name].clone())
        return {"wer": next(wers)}

    args = {"max_steps": 3, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    args |= {"load_best_model_at_end": True, "metric_for_best_model": "wer", "greater_is_better": False}
    run = trainer("qwen2_audio", tmp_path, task=metric, eval_dataset=rows(2), max_new_tokens=2, args=args)
    name = next(name for name in run.model.state_dict() if "lora_B" in name)
    run.train()
    assert Path(run.state.best_model_checkpoint).name == "checkpoint-2"
    assert run.state.best_metric == 0.3
    assert [bool((value == run.model.state_dict()[name]).all()) for value in weights] == [False, True, False]
    assert hf_tokcomp.active_config(run.model).retention_ratio == 0.4


def test_a_card_of_ours_is_in_every_checkpoint(kind, tmp_path):
    writer = CardWriter("someone/digits", base_model="someone/base", license="mit")
    args = {"save_strategy": "steps", "save_steps": 1}
    run = trainer(kind, tmp_path, callbacks=[writer], args=args)
    run.train()
    for step in (1, 2):
        card = (tmp_path / f"checkpoint-{step}" / "README.md").read_text()
        assert "someone/digits" in card
        assert "base_model: someone/base" in card
        assert "average_pooling" in card
        assert "Model Card for Model ID" not in card  # PEFT's
    file = tmp_path / "checkpoint-1" / "README.md"
    file.write_text("# My own words\n")
    writer.write(file.parent, run.model)
    assert file.read_text() == "# My own words\n"
    writer.write(tmp_path / "nowhere", run.model)
    assert not (tmp_path / "nowhere").exists()


def test_only_the_first_process_writes_cards(tmp_path):
    model = hf_tokcomp.patch(tiny.model("qwen2_audio"), POOLING)
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    args = type("Args", (), {"output_dir": str(tmp_path)})
    for first in (False, True):
        state = type("State", (), {"is_world_process_zero": first, "global_step": 1})
        CardWriter("someone/digits").on_save(args, state, None, model=model)
        assert (folder / "README.md").is_file() == first


def test_nothing_warns(tmp_path, caplog):
    run = trainer("qwen2_audio", tmp_path, model=None, lora=small_lora(tiny.model("qwen2_audio")))
    with caplog.at_level(logging.WARNING, "hf_tokcomp"):
        run.train()
    assert not [record for record in caplog.records if record.name.startswith("hf_tokcomp")]
