"""metrics.json: what it says the numbers were measured on."""

from __future__ import annotations

import json
from types import SimpleNamespace

import datasets
import pytest

from hf_tokcomp.cli.finetune import _print_results
from hf_tokcomp.training.arguments import FinetuneArguments
from hf_tokcomp.training.results import effective_prompt, write_metrics

ROWS = SimpleNamespace(dataset=[{}] * 5)


@pytest.mark.parametrize(
    ("given", "name", "dataset_id"),
    [
        ("someone/speech", "speech", "someone/speech"),
        ("someone/speech@v2", "speech", "someone/speech"),
        ("digits/manifest.jsonl", "digits", None),
        ("here", "here", None),
        (".", "inside", None),
    ],
)
def test_the_data_set_is_named_as_others_know_it(tmp_path, monkeypatch, given, name, dataset_id):
    here = tmp_path / "inside"
    for folder in ("digits", "here"):
        (here / folder).mkdir(parents=True)
    (here / "digits" / "manifest.jsonl").write_text("{}")
    monkeypatch.chdir(here)
    options = FinetuneArguments(dataset="train.jsonl", eval_dataset=given)
    args = SimpleNamespace(train_batch_size=2, world_size=1, gradient_accumulation_steps=3, seed=0)
    trainer = SimpleNamespace(args=args, state=SimpleNamespace(global_step=7))
    found = write_metrics(tmp_path, options, trainer, {"after": {"wer": 0.5}}, ROWS)
    written = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert (found.dataset, found.dataset_id) == (name, dataset_id)
    assert (written["dataset"], written.get("dataset_id")) == (name, dataset_id)
    assert "5 recordings" in found.note


@pytest.mark.parametrize(
    ("own", "asked"),
    [
        (None, "the default"),
        ([None, ""], "the default"),
        (["a", "a"], "a"),
        (["a", "b"], None),
        (["a", None], None),
    ],
)
def test_the_prompt_is_the_one_that_all_rows_are_asked(own, asked):
    columns = {"text": ["x", "y"]} | ({} if own is None else {"prompt": own})
    examples = SimpleNamespace(dataset=datasets.Dataset.from_dict(columns))
    assert effective_prompt(examples, FinetuneArguments(dataset="t.jsonl", prompt="the default")) == asked


@pytest.mark.parametrize(
    ("more", "said"), [({"prompt": "What is\nsaid?"}, "asked “What is said?”"), ({}, "each asked its own prompt")]
)
def test_the_summary_names_data_and_prompt(tmp_path, capsys, more, said):
    (tmp_path / "metrics.json").write_text(json.dumps({"dataset": "digits", "metrics": {"wer": 0.5}} | more))
    (tmp_path / "finetune.json").write_text(json.dumps({"rows": {"held_out": 5}}))
    _print_results(tmp_path)
    assert f"\n5 items of digits, {said}\n" in capsys.readouterr().out
