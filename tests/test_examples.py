"""Every public name has an example in its docstring, and every example runs, as a user would run it.

An example may use what stands in `NAMES`, and the files in `reader`'s folder. It begins with a model that is not
patched, and changes no other example's.
"""

from __future__ import annotations

import copy
import doctest
import importlib
import inspect
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hub_client import Hub
from places import ROOT
from threads import one_thread
from transformers import AutoModelForSeq2SeqLM, AutoProcessor

import hf_tokcomp
from hf_tokcomp.checkpoints import SMALL_MODEL, recordings
from hf_tokcomp.config import registry
from hf_tokcomp.models import registry as models

ROOMS = (
    "",
    "audio",
    "cards",
    "checkpoints",
    "data",
    "encoder_reuse",
    "evaluation",
    "plotting",
    "selection",
    "serving.vllm",
    "training",
)
"""The modules whose `__all__` is public, below `hf_tokcomp`."""
MEMBERS = ("AudioTokenCompressor.from_config", "CompressionRecord.to_prompt")
"""Methods that pages name, beside all of `CompressionConfig`."""
NAMES = ("hf_tokcomp", "torch", "model", "processor", "inputs")
"""What every example finds; `inputs` ask about `question.wav`, a shipped recording of 5 s."""

ON_PAGES = {
    "encoder_reuse.reuse_encoder": "evaluation.md",
    "evaluation.Dataset": "evaluation.md",
    "evaluation.evaluate": "evaluation.md",
    "cards.Measurement": "hub.md",
    "cards.Score": "hub.md",
    "plotting.plot": "pictures.md",
    "training.AudioTextCollator": "training.md",
}
"""Names whose example is on a page of docs/, where `test_docs.py` runs it."""
WITHOUT = {
    "__version__": "a text",
    "ModelPatch": "an example is a file of its own: patches/audioflamingo3.py",
    "cards.CARD_NAME": "a text",
    "cards.read_measurements": "`push_to_hub(metrics=...)` calls it",
    "checkpoints.SMALL_MODEL": "a path",
    "evaluation.Item": "a part of `Task`, of which the files in evaluation/tasks/ are examples",
    "evaluation.Task": "the files in evaluation/tasks/ are examples",
    "evaluation.read_scores": "reads what `evaluate` returns",
    "evaluation.register_task": "the files in evaluation/tasks/ are examples",
    "plotting.read_panels": "a part of `plot`",
    "selection.ATTENTION": "a table",
    "selection.HeadReduction": "a type",
    "serving.vllm.ARCHITECTURES": "a table",
    "serving.vllm.COMPRESSION_KEY": "a text",
    "training.Answer": "what `answer` returns",
    "training.CardWriter": "a callback of `make_trainer`",
    "training.GenerationMetrics": "`make_trainer(task=...)` adds it",
    "training.TokensKept": "`make_trainer` adds it",
    "training.answer": "what `GenerationMetrics` calls",
}
"""Public names that have no example, and why."""


def public() -> Iterator[tuple[str, Any]]:
    """Every public name with what it names."""
    for room in ROOMS:
        module: ModuleType = importlib.import_module(f"hf_tokcomp.{room}".rstrip("."))
        for name in module.__all__:
            yield f"{room}.{name}".lstrip("."), getattr(module, name)
    config = hf_tokcomp.CompressionConfig
    for name, member in inspect.getmembers(config, lambda member: callable(member) or inspect.ismethod(member)):
        if not name.startswith("_"):
            yield f"CompressionConfig.{name}", member
    for path in MEMBERS:
        owner, _, name = path.partition(".")
        yield path, getattr(getattr(hf_tokcomp, owner), name)


def example(named: Any) -> str:
    """The `Example:` at the end of a docstring; a compressor's is its config's. Empty where there is none."""
    by_compressor = {method.compressor_class: method.config_class for method in hf_tokcomp.methods().values()}
    doc = inspect.getdoc(by_compressor.get(named, named) if inspect.isclass(named) else named) or ""
    return doc.partition("\nExample:\n")[2]


PUBLIC = dict(public())


def test_every_public_name_has_an_example() -> None:
    with_example = {name for name, named in PUBLIC.items() if ">>> " in example(named)}
    assert sorted(with_example & {*ON_PAGES, *WITHOUT}) == [], "they have one now"
    assert sorted({*ON_PAGES, *WITHOUT} - set(PUBLIC)) == [], "they are not public any more"
    assert sorted(set(PUBLIC) - with_example - {*ON_PAGES, *WITHOUT}) == []


def test_the_pages_have_the_other_examples() -> None:
    for name, page in ON_PAGES.items():
        blocks = re.findall(
            r"^```python\n(.*?)^```$", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL | re.MULTILINE
        )
        assert f"{name.rpartition('.')[2]}(" in "".join(blocks), f"{page} has no example of {name}"


def test_no_example_is_a_sketch() -> None:
    parsed = [doctest.DocTestParser().get_examples(example(named)) for named in PUBLIC.values()]
    sources = [each.source for examples in parsed for each in examples]
    assert len(sources) > 100
    assert [source for source in sources if "..." in source.replace("=...", "")] == []


class Shown(doctest.OutputChecker):
    """Compares what an example shows; where it shows nothing, it may print, as a Trainer does."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


def test_no_example_is_left_out() -> None:
    files = [file for folder in ("hf_tokcomp", "patches", "recipes") for file in (ROOT / folder).rglob("*.py")]
    written = "".join(file.read_text(encoding="utf-8") for file in files).count("    >>> ")
    assert written == sum(text.count(">>> ") for text in {example(named) for named in PUBLIC.values()})


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the examples run: a recording, and a table of three."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    monkeypatch.setattr(models, "PATCHES", dict(models.PATCHES))
    shutil.copy(recordings()[0][0], "question.wav")
    rows = [json.dumps({"audio": str(path), "text": text}) for path, text in recordings()]
    Path("my_recordings").mkdir()
    Path("my_recordings/train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


def test_all_examples_run(reader: Path, hub: Hub) -> None:
    model = AutoModelForSeq2SeqLM.from_pretrained(SMALL_MODEL)
    processor = AutoProcessor.from_pretrained(SMALL_MODEL)
    content = [{"type": "audio", "path": "question.wav"}, {"type": "text", "text": "Transcribe the digits."}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(Shown(), verbose=False)
    report: list[str] = []
    methods, patches = dict(registry._METHODS), dict(models.PATCHES)
    once = {example(named): name for name, named in PUBLIC.items()}
    with hub.here(), one_thread():
        for text, name in once.items():
            registry._METHODS.clear()
            registry._METHODS.update(methods)
            models.PATCHES.clear()
            models.PATCHES.update(patches)
            values = (hf_tokcomp, torch, copy.deepcopy(model), processor, copy.copy(inputs))
            names = dict(zip(NAMES, values, strict=True)) | {"__name__": "example"}
            test = parser.get_doctest(text, names, name, None, 0)
            runner.run(test, out=report.append)
    assert not report, "".join(report)
    assert runner.tries > 150
    assert runner.failures == 0
