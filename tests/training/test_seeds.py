"""--seed decides about everything that is drawn: two runs are the same, whatever was drawn before them."""

from __future__ import annotations

import pytest
import torch
from test_finetune import adapter, command, pytestmark
from training_tools import adapter_weights, losses, same, trainer

import hf_tokcomp
from hf_tokcomp.checkpoints import recordings
from hf_tokcomp.cli import main

__all__ = ["pytestmark"]
LEARNED = [key for key, method in hf_tokcomp.methods().items() if method.compressor_class.learns]


@pytest.mark.parametrize("method", LEARNED)
def test_what_make_trainer_draws_is_the_seeds(kind, tmp_path, method):
    def run(seed, before):
        torch.manual_seed(before)
        made = trainer(kind, tmp_path, {"method": method, "retention_ratio": 0.4}, args={"seed": seed, "max_steps": 2})
        first = adapter_weights(made.model)
        return first, losses(made), adapter_weights(made.model)

    one, two, other = run(0, 1), run(0, 2), run(5, 1)
    same(one[0], two[0], atol=0, rtol=0)
    assert one[1] == two[1]
    same(one[2], two[2], atol=0, rtol=0)
    drawn = [name for name in one[0] if "audio_compressor" in name and not torch.equal(one[0][name], other[0][name])]
    assert drawn


@pytest.mark.parametrize("method", LEARNED)
def test_two_runs_of_the_command_with_one_seed_are_the_same(tmp_path, method):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"audio": "{path}", "text": "{truth}"}}\n' for path, truth in recordings()))
    for number in (1, 2):
        torch.manual_seed(number)
        given = command(file, tmp_path / str(number), "--compression", method, steps=1)
        assert main(given) == 0
    same(adapter(tmp_path / "1"), adapter(tmp_path / "2"), atol=0, rtol=0)
