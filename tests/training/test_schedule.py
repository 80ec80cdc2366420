"""RetentionSchedule: the ratios of the steps, in a real run, and that nothing of it stays."""

from __future__ import annotations

import json
import math

import pytest
import tiny
import toy_learned
from training_tools import POOLING, rows, small_lora, trainer
from transformers import TrainerCallback

import hf_tokcomp
from hf_tokcomp import CompressionConfigError, active_config
from hf_tokcomp.training import RetentionSchedule

RATIOS = [0.2, 0.5, 1.0]


def drawn(schedule, steps=60, own=0.4):
    return [schedule.ratio(step, steps, own) for step in range(steps)]


def test_ratios_depend_on_seed_and_step_alone():
    first = drawn(RetentionSchedule(RATIOS, seed=3))
    assert set(first) == set(RATIOS)
    assert first[40:] == [RetentionSchedule(RATIOS, seed=3).ratio(step, 60, 0.4) for step in range(40, 60)]
    assert first != drawn(RetentionSchedule(RATIOS, seed=4))
    assert drawn(RetentionSchedule([0.5], seed=4)) == [0.5] * 60


def test_curriculum_falls_from_everything_to_the_ratio_due():
    found = drawn(RetentionSchedule(curriculum=0.5), steps=8, own=0.2)
    assert found == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2, 0.2])


def test_curriculum_and_draws_together():
    """At half of the way, half of what is drawn away is taken."""
    plain, both = drawn(RetentionSchedule(RATIOS, seed=1)), drawn(RetentionSchedule(RATIOS, curriculum=1.0, seed=1))
    assert both == pytest.approx([due + (1 - due) * (1 - step / 60) for step, due in enumerate(plain)])
    assert max(both) <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs ratios to draw from, a curriculum, or both"),
        ({"ratios": []}, "non-empty list"),
        ({"ratios": [0.5, 0.0]}, "above 0"),
        ({"ratios": [1.1]}, "at most 1"),
        ({"ratios": [math.nan]}, "above 0"),
        ({"curriculum": 1.5}, "0 to 1, not 1.5"),
        ({"curriculum": -0.1}, "0 to 1"),
    ],
    ids=str,
)
def test_values_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        RetentionSchedule(**options)


class Watch(TrainerCallback):
    """What the compressor did in every batch, and under which config what is between the steps happens."""

    def __init__(self):
        self.kept, self.between = [], []

    def record(self, model):
        last = model.get_base_model().audio_compressor.last
        self.kept.append((last.tokens_before, last.tokens_after))

    def on_substep_end(self, args, state, control, model=None, **_):
        self.record(model)

    def on_step_end(self, args, state, control, model=None, **_):
        self.record(model)

    def on_evaluate(self, args, state, control, model=None, **_):
        last = model.get_base_model().audio_compressor.last
        self.between.append((active_config(model), last.tokens_before, last.tokens_after))


def expected_counts(config, counts):
    return [config.output_length(count) for count in counts]


@pytest.mark.parametrize("learned", [False, True], ids=["pooling", "learned"])
def test_a_run_follows_it(kind, tmp_path, learned):
    """Every batch of a step is under the step's ratio; evaluation and checkpoints are under the model's own."""
    compression = toy_learned.CONFIG if learned else POOLING
    schedule, watch = RetentionSchedule([0.2, 0.7], curriculum=0.5, seed=2), Watch()
    with toy_learned.registered():
        model = hf_tokcomp.patch(tiny.model(kind), compression)
        own = active_config(model)
        args = {"max_steps": 4, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2}
        args |= {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 2}
        run = trainer(
            kind, tmp_path, None, model, lora=small_lora(model), callbacks=[schedule, watch], args=args,
            eval_dataset=rows(2),
        )  # fmt: skip
        run.train()
        assert len(watch.kept) == 8
        used = [own.replace(retention_ratio=schedule.ratio(batch // 2, 4, own.retention_ratio)) for batch in range(8)]
        assert len({config.retention_ratio for config in used}) > 2
        assert [after for _, after in watch.kept] == [
            expected_counts(config, before) for config, (before, _) in zip(used, watch.kept, strict=True)
        ]
        assert len(watch.between) == 4
        for config, before, after in watch.between:
            assert config == own
            assert after == expected_counts(own, before)
        for step in (2, 4):
            saved = json.loads((tmp_path / f"checkpoint-{step}" / "compression_config.json").read_text())
            assert saved["retention_ratio"] == own.retention_ratio
        assert active_config(run.model) == own
        if learned:
            compressor = run.model.get_base_model().audio_compressor
            assert compressor.original_module.config == own
            moved = compressor.modules_to_save["default"].mix.weight - compressor.original_module.mix.weight
            assert moved.abs().max() > 0


@pytest.mark.parametrize("compression", [{"method": "stride", "tokens_per_second": 10}, "none"], ids=str)
def test_a_model_without_a_ratio_is_refused(tmp_path, compression):
    run = trainer("qwen2_audio", tmp_path, compression, callbacks=[RetentionSchedule([0.5])])
    with pytest.raises(CompressionConfigError, match="give it a retention_ratio"):
        run.train()


def test_a_step_that_fails_leaves_the_models_own_ratio(tmp_path):
    """A notebook goes on after an interrupt: with the next run the model would be another one."""

    class Interrupt(TrainerCallback):
        def on_substep_end(self, args, state, control, **_):
            raise KeyboardInterrupt

    schedule = RetentionSchedule([0.2])
    args = {"gradient_accumulation_steps": 2, "max_steps": 1}
    run = trainer("qwen2_audio", tmp_path, callbacks=[schedule, Interrupt()], args=args)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    run.remove_callback(Interrupt)
    run.train()
    assert active_config(run.model).retention_ratio == 0.4
