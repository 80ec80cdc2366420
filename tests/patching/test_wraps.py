"""What importing hf_tokcomp changes in other libraries: once, lazily, and undone by `uninstall`."""

from __future__ import annotations

import inspect
import sys

import peft
import pytest
import tiny
import warm
from transformers import PreTrainedModel, ProcessorMixin

import hf_tokcomp

WRAPPED = [
    (PreTrainedModel, "from_pretrained"),
    (PreTrainedModel, "load_adapter"),
    (ProcessorMixin, "from_pretrained"),
    (peft.PeftModel, "from_pretrained"),
    (peft.PeftModel, "load_adapter"),
    (peft.PeftModel, "save_pretrained"),
    (peft.PeftModel, "push_to_hub"),
]


def found():
    return [owner.__dict__.get(name) for owner, name in WRAPPED]


def ours():
    """Which of them are our wrappers."""
    plain = [getattr(value, "__func__", value) for value in found()]
    return [f is not None and f.__code__.co_filename.endswith("wrapping.py") for f in plain]


@pytest.fixture
def uninstalled():
    hf_tokcomp.uninstall()
    yield
    hf_tokcomp.install()


def test_a_second_install_changes_nothing():
    before = found()
    assert ours() == [True] * len(WRAPPED)
    hf_tokcomp.install()
    assert found() == before


def test_uninstall_puts_back_everything(uninstalled):
    assert ours() == [False] * len(WRAPPED)
    assert "load_adapter" not in PreTrainedModel.__dict__  # it is inherited
    assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("hf_tokcomp")]
    hf_tokcomp.install()
    assert ours() == [True] * len(WRAPPED)


def test_an_adapter_without_us(uninstalled, kind, tmp_path):
    """What the wraps are there for: all of it is silence without them."""
    model = hf_tokcomp.patch(tiny.model(kind), "ltbm")
    config = peft.LoraConfig(target_modules=r".*language_model.*q_proj", modules_to_save=["audio_compressor"])
    peft.get_peft_model(model, config).save_pretrained(tmp_path)
    assert not (tmp_path / "compression_config.json").exists()
    again = peft.PeftModel.from_pretrained(tiny.model(kind), tmp_path, compression="ltbm")
    assert hf_tokcomp.active_config(again) is None


@pytest.mark.parametrize("first", ["hf_tokcomp", "peft"])
def test_peft_is_wrapped_whichever_comes_first_and_not_imported_for_it(first):
    second = "peft" if first == "hf_tokcomp" else "hf_tokcomp"
    script = f"""
import sys
import {first}
print("hf_tokcomp" in sys.modules, "peft" in sys.modules)
import {second}, peft.peft_model
name = lambda f: getattr(f, "__func__", f).__code__.co_filename.rpartition("/")[2]
print(*(name(peft.PeftModel.__dict__[n]) for n in ("from_pretrained", "load_adapter", "save_pretrained")))
print([f for f in sys.meta_path if type(f).__module__.startswith("hf_tokcomp")])
hf_tokcomp.uninstall()
print(name(peft.PeftModel.__dict__["save_pretrained"]))
"""
    done = warm.run(script)
    lines = done.stdout.splitlines()
    assert lines[0] == ("True False" if first == "hf_tokcomp" else "False True"), done.stderr
    assert lines[1:] == ["wrapping.py wrapping.py wrapping.py", "[]", "peft_model.py"]


def test_taken_back_before_peft_is_imported():
    script = """
import sys, hf_tokcomp
hf_tokcomp.uninstall()
import peft.peft_model
print(peft.PeftModel.__dict__["save_pretrained"].__code__.co_filename.rpartition("/")[2])
"""
    done = warm.run(script)
    assert done.stdout.strip() == "peft_model.py", done.stderr


def test_signatures_stay_readable():
    assert "peft_model_id" in inspect.signature(PreTrainedModel.load_adapter).parameters
    assert "model_id" in inspect.signature(peft.PeftModel.from_pretrained).parameters
    assert "save_directory" in inspect.signature(peft.PeftModel.save_pretrained).parameters
    assert "pretrained_model_name_or_path" in inspect.signature(PreTrainedModel.from_pretrained).parameters
