"""Folders that the first layout of files saved load, answer and go on learning as they did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import saved_before
import tiny
import torch
from peft import PeftModel
from places import FIXTURES
from safetensors.torch import load_file
from training_tools import adapter_weights, same
from transformers import Qwen2AudioForConditionalGeneration

import hf_tokcomp

SAVED = FIXTURES / "saved"
ANSWERS = json.loads((SAVED / "answers.json").read_text(encoding="utf-8"))


def check(model: Any, place: str) -> None:
    found = saved_before.answers(model)
    assert found["config"] == ANSWERS[place]["config"]
    assert found["ids"] == ANSWERS[place]["ids"]
    torch.testing.assert_close(torch.tensor(found["logits"]), torch.tensor(ANSWERS[place]["logits"]))


@pytest.mark.parametrize("place", ["model", "learned"])
def test_a_model(place: str) -> None:
    check(Qwen2AudioForConditionalGeneration.from_pretrained(SAVED / place), place)


def test_an_adapter(tmp_path: Path) -> None:
    tiny.model(saved_before.KIND).save_pretrained(tmp_path)
    check(hf_tokcomp.load_adapter(SAVED / "adapter", base=tmp_path), "adapter")
    check(PeftModel.from_pretrained(tiny.model(saved_before.KIND), SAVED / "adapter"), "adapter")


def test_a_checkpoint_is_trained_on(tmp_path: Path) -> None:
    shutil.copytree(SAVED / "checkpoint", tmp_path / "checkpoint-2")
    run = saved_before.to_be_resumed(tmp_path)
    run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert run.state.global_step == 4
    same(adapter_weights(run.model), load_file(SAVED / "trained.safetensors"), atol=1e-5, rtol=1e-4)
