"""Two real processes, as torchrun and accelerate start them: the same answers, the same adapter, the same metrics."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
from test_answers import CONFIG, LENGTHS, as_tuples
from training_tools import POOLING, PROMPT, adapter_weights, plain_processor, rows, run_processes, small_lora, trainer

import hf_tokcomp
from hf_tokcomp.training import AudioTextCollator, RetentionSchedule, answer

KIND = "qwen2_audio"  # whose own loss knows nothing of the other process
PROGRAM = """
import json
import torch
import test_processes

found = test_processes.ask()  # first, as nobody has told accelerate of the processes yet
from accelerate import PartialState

state = PartialState()
run, metrics = test_processes.train(sys.argv[1] + "/run", 2)
found |= {"processes": state.num_processes, "of the run": run.args.world_size, "metrics": metrics}
with open(f"{sys.argv[1]}/{state.process_index}.json", "w") as file:
    json.dump(found, file)
torch.save(test_processes.adapter_weights(run.model), f"{sys.argv[1]}/{state.process_index}.pt")
"""


def ask():
    """Answers about several rows and about one, which is fewer than there are processes."""
    model = hf_tokcomp.patch(tiny.model(KIND), CONFIG)
    collator = AudioTextCollator(plain_processor(KIND), PROMPT)
    given = [{"audio": tiny.sound(length, seed=i)} for i, length in enumerate(LENGTHS)]
    asked, generate = [], model.generate
    model.generate = lambda **inputs: asked.append(len(inputs["input_ids"])) or generate(**inputs)
    several, one = (answer(model, collator, few, batch_size=2, max_new_tokens=4) for few in (given, given[:1]))
    return {"several": as_tuples(several), "one": as_tuples(one), "asked": sum(asked)}


def train(folder, batch):
    """Two steps of four rows, whose answers differ in length, and word errors; under plain descent."""
    model = tiny.model(KIND)
    args = {"optim": "sgd", "max_grad_norm": 0.0, "learning_rate": 0.1, "per_device_train_batch_size": batch}
    run = trainer(
        KIND,
        folder,
        POOLING,
        model,
        lora=small_lora(model),
        callbacks=[RetentionSchedule([0.2, 0.7], seed=3)],
        task="asr",
        eval_dataset=rows(3),
        max_new_tokens=3,
        args=args,
    )
    run.train()
    metrics = run.evaluate()
    return run, {name: metrics[f"eval_{name}"] for name in ("wer", "exact_match", "tokens_kept")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("processes")
    run_processes(PROGRAM, made)
    return made


@pytest.fixture
def both(folder):
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def test_there_were_two(both):
    """One process alone passes the other tests, too."""
    for found in both:
        assert (found["processes"], found["of the run"]) == (2, 2)
    assert [found["asked"] for found in both] == [4, 2]  # 3 of 5 rows and the one, the other 2


def test_every_process_has_all_answers_in_their_order(both):
    expected = ask()
    for found in both:
        for name in ("several", "one"):
            assert found[name] == [list(each) for each in expected[name]]


def test_the_adapter_and_its_metrics_are_those_of_one_process(folder, both, tmp_path):
    run, metrics = train(tmp_path, 4)
    for rank, found in enumerate(both):
        assert found["metrics"] == metrics
        weights = torch.load(folder / f"{rank}.pt")
        for name, value in adapter_weights(run.model).items():
            torch.testing.assert_close(weights[name], value, atol=2e-6, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
