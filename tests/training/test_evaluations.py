"""evaluate and predict: answers are measured about the rows of the call, under its prefix, streamed or not, by set."""

from __future__ import annotations

import datasets
import pytest
import tiny
import torch
from training_tools import PROMPT, plain_processor, rows, run_processes, trainer
from transformers import StoppingCriteria

from hf_tokcomp.training import AudioTextCollator, GenerationMetrics, answer
from hf_tokcomp.training.callbacks import metric_of

MEASURED = ("wer", "exact_match", "tokens_kept")


class Stream(torch.utils.data.IterableDataset):
    """Rows that can only be read one after the other; how many were, is counted."""

    def __init__(self, given):
        self.given = given
        self.read = 0

    def __iter__(self):
        self.read = 0
        for row in self.given:
            self.read += 1
            yield row


def others(number=5):
    """Rows that no other test has, whose answers the models cannot know."""
    return [row | {"text": f"{row['text']} {'x ' * place}y"} for place, row in enumerate(rows(number, longest=0.7))]


def expected(run, given):
    """By hand, of the model as it is."""
    collator = AudioTextCollator(run.processing_class, PROMPT)
    found = answer(run.model, collator, given, batch_size=1, max_new_tokens=3)
    values = metric_of("asr")([row["text"] for row in given], [each.text for each in found])
    before, after = (sum(getattr(each, name) for each in found) for name in ("tokens_before", "tokens_after"))
    return values | {"tokens_kept": round(after / before, 4)}


def measured(metrics, prefix):
    return {name: metrics[f"{prefix}_{name}"] for name in MEASURED}


def logged(run, name):
    return [entry[name] for entry in run.state.log_history if name in entry]


def test_other_rows_under_another_prefix(kind, tmp_path):
    run = trainer(kind, tmp_path, task="asr", eval_dataset=rows(3), max_new_tokens=3)
    own, other = expected(run, rows(3)), expected(run, others())
    assert own["wer"] != other["wer"]
    metrics = run.evaluate(others(), metric_key_prefix="test")
    assert measured(metrics, "test") == other
    assert not [name for name in metrics if name.startswith("eval_")]
    assert logged(run, "test_wer") == [other["wer"]]
    assert logged(run, "eval_wer") == []
    assert measured(run.evaluate(), "eval") == own
    assert measured(run.evaluate(metric_key_prefix="my_runtime"), "my_runtime") == own


def test_predict_measures_its_rows(kind, tmp_path):
    run = trainer(kind, tmp_path, task="asr", eval_dataset=rows(3), max_new_tokens=3)
    found = run.predict(others())
    assert measured(found.metrics, "test") == expected(run, others())
    measure = next(c for c in run.callback_handler.callbacks if isinstance(c, GenerationMetrics))
    assert len(measure.answers) == len(others())
    assert found.predictions is None  # nobody asked for logits
    assert found.label_ids is None


def test_a_dict_of_sets_is_measured_set_by_set(kind, tmp_path):
    sets = {"near": rows(3), "far_off": others()}
    args = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    args |= {"load_best_model_at_end": True, "metric_for_best_model": "far_off_wer", "greater_is_better": False}
    run = trainer(kind, tmp_path, task="asr", eval_dataset=sets, max_new_tokens=3, args=args)
    metrics = run.evaluate()
    for name, given in sets.items():
        assert measured(metrics, f"eval_{name}") == expected(run, given)
        assert metrics[f"eval_{name}_loss"] > 0
    assert "eval_wer" not in metrics
    assert measured(run.evaluate("far_off"), "eval") == expected(run, sets["far_off"])
    run.train()
    assert run.state.best_metric == min(logged(run, "eval_far_off_wer")[-2:])


@pytest.mark.parametrize("streamed", [Stream, lambda given: datasets.Dataset.from_list(given).to_iterable_dataset()])
def test_a_streamed_set_is_read_through(kind, tmp_path, streamed):
    given = others()
    if streamed is not Stream:  # Arrow stores no arrays of numpy as such
        given = [row | {"audio": {"array": row["audio"].tolist(), "sampling_rate": tiny.RATE}} for row in given]
    args = {"max_steps": 2, "eval_strategy": "steps", "eval_steps": 1}
    run = trainer(kind, tmp_path, task="asr", eval_dataset=streamed(given), max_new_tokens=3, args=args)
    assert measured(run.evaluate(), "eval") == expected(run, others())
    assert measured(run.evaluate(streamed(given[:2]), metric_key_prefix="few"), "few") == expected(run, others(5)[:2])
    run.train()
    assert len(logged(run, "eval_wer")) == 2


def test_of_a_stream_is_in_memory_what_is_answered_together(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_tokcomp.inference.answers.SORTED_TOGETHER", 2)
    run = trainer("qwen2_audio", tmp_path)
    stream, ahead = Stream(rows(8)), []

    class Watch(StoppingCriteria):
        def __call__(self, input_ids, scores, **_):
            ahead.append(stream.read)
            return torch.zeros(len(input_ids), dtype=torch.bool)

    collator = AudioTextCollator(plain_processor("qwen2_audio"), PROMPT)
    found = answer(run.model, collator, stream, batch_size=2, max_new_tokens=1, stopping_criteria=[Watch()])
    assert ahead == [4, 4, 8, 8]
    assert found == answer(run.model, collator, rows(8), batch_size=2, max_new_tokens=1)


@pytest.mark.parametrize(
    ("held_out", "said"),
    [
        ([], "eval_dataset has no rows"),
        ({}, "an empty dict"),
        ({"a": rows(1), "b": []}, r"eval_dataset\['b'\] has no rows"),
        ((row for row in rows(2)), "reads all of it again"),
    ],
    ids=["empty", "no sets", "an empty set", "a generator"],
)
@pytest.mark.parametrize("task", ["asr", None])
def test_what_could_not_be_gone_through_is_refused_before_training(tmp_path, held_out, said, task):
    model = tiny.model("qwen2_audio")
    with pytest.raises(ValueError, match=said):
        trainer("qwen2_audio", tmp_path, model=model, task=task, eval_dataset=held_out)
    assert not hasattr(model, "audio_compressor")


@pytest.mark.parametrize(
    ("name", "sets", "said"),
    [
        ("eval_exact_mach", rows(1), "did you mean 'exact_match'"),
        ("wer", {"near": rows(1)}, "near_wer"),
        ("loss", {"near": rows(1)}, "near_loss"),
        ("bleu", rows(1), "wer, exact_match, tokens_kept, loss"),
    ],
)
def test_the_best_by_what_nobody_measures_is_refused_before_training(tmp_path, name, sets, said):
    args = {"eval_strategy": "steps", "metric_for_best_model": name, "greater_is_better": False}
    with pytest.raises(ValueError, match=said):
        trainer("qwen2_audio", tmp_path, task="asr", eval_dataset=sets, args=args)


def test_the_worst_of_a_set_is_not_taken_for_the_best(tmp_path):
    args = {"eval_strategy": "steps", "metric_for_best_model": "eval_near_wer"}
    with pytest.raises(ValueError, match="greater_is_better=False"):
        trainer("qwen2_audio", tmp_path, task="asr", eval_dataset={"near": rows(1)}, args=args)


def test_a_row_without_its_text_is_an_error(tmp_path):
    run = trainer("qwen2_audio", tmp_path)
    measure = GenerationMetrics(run.data_collator)
    with pytest.raises(ValueError, match="text must be a string"):
        measure.measure(run.model, [{"audio": rows(1)[0]["audio"]}])


PROGRAM = """
import test_evaluations
test_evaluations.in_two_processes(sys.argv[1])
"""


def in_two_processes(folder):
    given = Stream(rows(3))
    run = trainer("qwen2_audio", folder)
    found = answer(run.model, run.data_collator, given, batch_size=1, max_new_tokens=2)  # every second row each
    assert found == answer(run.model, run.data_collator, rows(3), batch_size=1, max_new_tokens=2)
    with pytest.raises(ValueError, match="Several processes cannot share a streamed data set"):
        trainer("qwen2_audio", folder, task="asr", eval_dataset={"near": given})


def test_several_processes_do_not_share_a_stream(tmp_path):
    run_processes(PROGRAM, tmp_path)
